"""The benchmark's parts are true: the bare loop does the trainer's work, and what is measured is written as it says."""

import importlib
import json
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from command import REPOSITORY
from tiny_jobs import tiny_job, tiny_scan

from ptycho_torch.config import JobConfig
from ptycho_torch.dataset import counter_seed
from ptycho_torch.learning import Place, learn, lesson_optimizer
from ptycho_torch.lessons import STEP_PURPOSE, lessons
from ptycho_torch.model import seeded_model

STEPS = 3
PAGE = REPOSITORY / "docs" / "performance.md"


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    sys.path.insert(0, str(REPOSITORY / "benchmarks"))
    yield
    sys.path.remove(str(REPOSITORY / "benchmarks"))


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _trained(job: JobConfig) -> list[float]:
    lesson = lessons(seeded_model(job), tiny_scan(), job)[0]
    optimizer, batches = lesson_optimizer(lesson, job.training), lesson.batches(0)
    total = job.training.epochs * len(batches)

    def trained(step: int) -> float:
        seed = counter_seed(job.training_seed, STEP_PURPOSE, 0, step)
        return learn(lesson, optimizer, batches[step], seed, Place(step, total, step), job)

    return [trained(step) for step in range(min(STEPS, len(batches)))]


@pytest.mark.parametrize("gridsize", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_bare_loop_and_the_trainer_of_the_default_network_do_the_same(gridsize: int, precision: str) -> None:
    job = tiny_job(gridsize=gridsize, batch_size=8, unet_widths=(16, 32, 48, 64), precision=precision)
    training = _module("training_throughput")
    bare = training.bare_loop(job, torch.device("cpu"), half=precision == "bfloat16")
    losses = [bare.step(batch) for batch in training.bare_batches(tiny_scan(), job, STEPS)]
    assert losses == pytest.approx(_trained(job)[: len(losses)], rel=1e-5 if precision == "float32" else 1e-3)


@pytest.mark.parametrize("gridsize", [1, 2])
def test_the_bare_loop_and_the_trainer_of_ptychopinn_do_the_same(gridsize: int) -> None:
    job = tiny_job(gridsize=gridsize, architecture="ptychopinn", n_filters_scale=1, precision="float32")
    training, networks = _module("training_throughput"), _module("bare_networks")
    network = networks.BareAutoEncoder(job.group_size, widths=(64, 128))
    bare_loop = _module("bare_loop")
    bare_loop.filled_from(network, list(seeded_model(job).network.parameters()))
    bare = bare_loop.BareLoop("ptychopinn", network, weight_decay=1e-4, clip_norm=1.0)
    losses = [bare.step(batch) for batch in training.bare_batches(tiny_scan(), job, STEPS)]
    assert losses == pytest.approx(_trained(job)[: len(losses)], rel=1e-5)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # PyTorch's compiler about PyTorch
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_the_limits_network_can_be_compiled_for_canvases_of_any_size() -> None:
    network = _module("bare_networks").BareUNet(widths=(4, 8, 8))
    compiled: Any = torch.compile(network)
    for height, width in ((24, 24), (30, 41), (37, 50)):
        images = torch.rand(2, 3, height, width)
        torch.testing.assert_close(compiled(images), network(images))


def test_steps_of_a_rehearsal_leave_no_trace() -> None:
    def step() -> float:
        optimizer.zero_grad()
        loss = (network(torch.ones(2, 3)) - 1).square().sum()
        loss.backward()
        optimizer.step()
        return cast(float, loss.item())

    def trained(*, rehearsed: bool) -> list[float]:
        losses = []
        for _ in range(3):
            if rehearsed:
                with _module("bare_loop").rehearsal(optimizer):
                    _ = step(), step()
            losses.append(step())
        return losses

    both = []
    for rehearsed in (False, True):
        torch.manual_seed(1)
        network = torch.nn.Linear(3, 4)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        both.append(trained(rehearsed=rehearsed))
    assert both[0] == both[1]


def test_the_bare_loop_steps_between_the_trainers_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_module("machine"), "GEMM_SIDE", 64)
    training = _module("training_throughput")
    job = tiny_job(batch_size=1, unet_widths=(16, 32, 48, 64), precision="float32")
    cell = training.Cell("backprojection_unet", 1, 1, "float32")
    duel = training.duel(cell, tiny_scan(), job, tmp_path)
    made = training.WARM_UP_STEPS + duel.runs * duel.steps_a_run
    assert len(duel.pairs.ours_s) == len(duel.pairs.reference_s) == len(duel.peaks) == duel.runs >= training.RUNS
    assert len(duel.bare_losses) == duel.done == made
    assert duel.bare_losses[:STEPS] == pytest.approx(_trained(job)[:STEPS], rel=1e-5), "preparing leaves no trace"
    assert min(duel.pairs.ours_s) > 0


def test_the_plain_loop_steps_in_a_process_of_its_own(tmp_path: Path) -> None:
    train_file, _ = _module("scenes").dataset_files(tmp_path, positions=80)
    with _module("training_throughput")._plain_loop(train_file, 1) as step_s:
        assert step_s() > 0
        assert step_s() > 0


def test_the_matrix_has_every_cell_and_two_of_them_are_quick() -> None:
    training = _module("training_throughput")
    assert len(set(training.FULL)) == 16
    assert len(training.QUICK) == 2
    assert set(training.QUICK) < set(training.FULL)


@pytest.mark.parametrize(
    ("value", "required", "better", "verdict"),
    [
        (0.96, 0.95, "more", "met"),
        (0.94, 0.95, "more", "missed"),
        (0.4, 0.5, "less", "met"),
        (0.6, 0.5, "less", "missed"),
        (None, 0.5, "less", "not measured"),
        (0.6, None, "less", ""),
    ],
)
def test_a_miss_is_called_a_miss(value: float | None, required: float | None, better: str, verdict: str) -> None:
    measure = _module("measures").Measure("training", "x", value, "x", required, better, "y")
    assert measure.verdict == verdict


def test_a_ratio_is_the_median_of_runs_taken_in_turn() -> None:
    alternation = _module("alternation")
    assert alternation.Pairs([1.0, 2.0, 1.0], [2.0, 2.0, 9.0]).speed_ratio == 2.0
    calls: list[str] = []
    alternation.alternated(lambda: calls.append("ours"), lambda: calls.append("bare"), 2)
    assert calls == ["ours", "bare"] * 3


def test_large_studies_are_measured_as_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studies = _module("large_studies")
    for name, jobs in {"JOBS": 60, "FEW": 20, "FEWER": 10, "RUNS": 1, "REST_S": 0.0}.items():
        monkeypatch.setattr(studies, name, jobs)
    lines = list(studies.measured(tmp_path / "studies"))
    assert [line.required for line in lines] == [1.0, 1.0, 10.0, studies.MOST_GIB, studies.MOST_GROWTH, studies.MOST_GROWTH]
    assert all(line.value is not None for line in lines)
    assert 0.02 < lines[3].value < 1.0, "GiB"
    assert not (tmp_path / "studies").exists()


def test_the_page_is_filled_from_the_file_that_is_written(tmp_path: Path) -> None:
    measures = _module("measures")
    known = _module("machine").this_machine(2)
    lines = [
        measures.of_runs("training", "a cell", [0.9, 0.97, 1.0], unit="x", required=0.95, better="more", reference="bare"),
        measures.Measure("start", "a start", None, "s", 0.5, "less", "nothing", note="no clock"),
    ]
    shares = {"convolution": 0.75, "checkpoint": 0.25}
    file, page = tmp_path / "made" / "bench.json", tmp_path / "page.md"
    measures.write(file, known, lines, [{"cell": "a cell", "epoch_s": 2.0, "shares": shares}], False)
    written = json.loads(file.read_text())
    assert (written["form"], written["full"], written["measures"][0]["verdict"]) == (1, False, "met")
    best = {"seconds": 9.0, "phase_mae_rad": 0.2, "passes": 3}
    rows = [{"name": "quick", "seconds": 12.34, "best": best}, {"name": "slow", "seconds": None, "best": best}]
    (tmp_path / "made" / "time_to_quality.json").write_text(
        json.dumps({"target_phase_mae_rad": 0.1, "limit_s": 300.0, "rows": rows})
    )
    page.write_text(PAGE.read_text())
    runpy.run_path(str(REPOSITORY / "docs" / "performance_tables.py"))["main"](file, page)
    text = page.read_text()
    assert "| a cell | 0.97 [0.9, 1] | at least 0.95 | met | bare |" in text
    assert "| a start | not measured | at most 0.5 s | not measured | no clock |" in text
    assert "| convolution | 75.0 % |" in text
    assert known["cpu"] in text
    assert "| quick | 12.3 s | 0.200 after 3 passes, 9.0 s |" in text
    assert "| slow | not reached in 300 s | 0.200 after 3 passes, 9.0 s |" in text


def test_operators_are_sorted_by_kind() -> None:
    kind_of = _module("epoch_profile").kind_of
    assert kind_of("aten::mkldnn_convolution") == "convolution"
    assert kind_of("aten::_fft_c2c") == "Fourier transform"
    assert kind_of("aten::random_") == kind_of("aten::scatter_") == "photons parted"
    assert kind_of("aten::scatter_add") == "canvases laid and cut"
    assert kind_of("aten::copy_").startswith("the rest")


def test_the_page_names_its_machine_and_has_every_table() -> None:
    text = PAGE.read_text()
    for name in ("machine", "training", "epoch", "inference", "data", "start"):
        table = text.partition(f"<!-- table of {name}: ")[2].partition("<!-- end of the table -->")[0]
        assert table.count("\n| ") >= 3, name


@pytest.mark.parametrize("enough", [1, 2, 3, 5, 8, 13])
def test_the_fewest_passes_are_found_whose_error_is_small_enough(enough: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quality = _module("time_to_quality")

    def process(told: dict[str, Any]) -> list[Any]:
        error = 0.09 if told["passes"] >= enough else 0.2
        return [quality.Reached(seconds=float(told["passes"]), phase_mae_rad=error, passes=told["passes"])]

    monkeypatch.setattr(quality, "_process", process)
    assert quality._fewest_passes({})[-1].passes == enough
