"""Our AdamW is PyTorch's, to the bit, and a job that uses it loads no compiler."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from command import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ptycho_torch.adamw import BETAS, EPSILON, AdamW

RATES = st.lists(st.floats(1e-5, 0.5), min_size=1, max_size=6)
A_STEP = """
import sys
from ptycho_torch.devices import make_repeatable
from ptycho_torch.learning import Place, learn, lesson_optimizer
from ptycho_torch.lessons import lessons
from ptycho_torch.model import seeded_model
from tiny_jobs import tiny_job, tiny_scan

job = tiny_job()
make_repeatable(deterministic=True, threads=1)
lesson = lessons(seeded_model(job), tiny_scan(), job)[0]
learn(lesson, lesson_optimizer(lesson, job.training), lesson.batches(0)[0], 0, Place(0, 1, 0), job)
print(sorted({"torch._dynamo", "torch._inductor"} & set(sys.modules)))
"""


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def backward(model: nn.Module, step: int) -> None:
    model(torch.full((2, 3), 0.3 + step)).square().sum().backward()


@given(RATES, st.floats(0, 0.3), st.integers(0, 99))
def test_its_weights_are_those_of_torch_optim(rates: list[float], weight_decay: float, seed: int) -> None:
    ours, theirs = network(seed), network(seed)
    optimizer = AdamW(ours, rate=1, weight_decay=weight_decay)
    reference = torch.optim.AdamW(theirs.parameters(), betas=BETAS, eps=EPSILON, weight_decay=weight_decay, fused=True)
    for step, rate in enumerate(rates):
        optimizer.rate = reference.param_groups[0]["lr"] = rate
        for model in (ours, theirs):
            model.zero_grad()
            backward(model, step)
        optimizer.step()
        reference.step()
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.parametrize("steps_before", [0, 1, 3])
def test_it_goes_on_where_another_was(steps_before: int) -> None:
    def stepped(model: nn.Module, optimizer: AdamW) -> dict[str, Any]:
        optimizer.forget_gradients()
        backward(model, 1)
        optimizer.step()
        return model.state_dict()

    first, second = network(1), network(2)
    one, other = (AdamW(model, rate=0.1, weight_decay=0.01) for model in (first, second))
    for _ in range(steps_before):
        stepped(first, one)
    second.load_state_dict(first.state_dict())
    other.restore({name: moment.clone() for name, moment in one.moments().items()})
    expected, got = stepped(first, one), stepped(second, other)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_weight_without_a_gradient_stays() -> None:
    model = network(1)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizer = AdamW(model, rate=0.1, weight_decay=0.5)
    model[1](torch.ones(1, 4)).sum().backward()
    optimizer.step()
    moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert moved == {"1.weight", "1.bias"}
    assert {name.rpartition(".")[0] for name in optimizer.moments()} == moved


@given(st.floats(0.01, 10.0), st.integers(0, 99))
def test_gradients_held_to_a_norm_are_those_that_torch_clips(most_norm: float, seed: int) -> None:
    ours, theirs = network(seed), network(seed)
    optimizer = AdamW(ours, rate=0.1, weight_decay=0.01)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.1, betas=BETAS, eps=EPSILON, weight_decay=0.01, fused=True)
    for step in range(2):
        for model in (ours, theirs):
            model.zero_grad()
            backward(model, step)
        norm = float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), most_norm))
        assert optimizer.gradient_norm() == pytest.approx(norm, rel=1e-6)
        optimizer.step(gradient_divisor=max(1.0, norm / most_norm))
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_no_gradient_has_no_norm_and_moves_nothing() -> None:
    model = network(1)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    optimizer = AdamW(model, rate=0.1, weight_decay=0.5)
    assert optimizer.gradient_norm() == 0
    optimizer.step()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_training_step_loads_no_compiler() -> None:
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    answer = subprocess.run([sys.executable, "-c", A_STEP], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
