"""The adapter to pty-chi: its model is ours, what is known stays as it is, and its absence is a clear error."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tiny_jobs import OBJECT_SHAPE, N, tiny_object, tiny_scan

from ptycho_torch import ptychi_solver
from ptycho_torch.config import SolverConfig
from ptycho_torch.data_consistency import light_on_canvas
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.errors import SolverUnavailableError, TrainingDivergedError
from ptycho_torch.evaluation import score
from ptycho_torch.physics import cut_patches, diffraction_intensity
from ptycho_torch.ptychi_solver import model_error, solve

LSQML = SolverConfig(method="lsqml", epochs=20, batch_size=20)
POISSON = SolverConfig(method="lsqml", noise_model="poisson", epochs=40, batch_size=60)
RPIE = SolverConfig(method="rpie", epochs=40, batch_size=20)
EPIE = SolverConfig(method="epie", epochs=10, batch_size=1)
IDENTICAL = 1e-6
"""The frozen truth's error below which two models are the same."""

clients = pytest.mark.clients
each_solver = pytest.mark.parametrize("solver", [LSQML, POISSON, RPIE], ids=["lsqml", "lsqml_poisson", "rpie"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several, on cores that others use too, wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clean_scan(*, fraction_px: float = 0.0, n: int = 60, object_hw: torch.Tensor | None = None) -> ScanTensors:
    """A scan without noise, every position off its pixel by the same fraction along y and less along x."""
    scan = tiny_scan(n)
    shifts = torch.tensor([fraction_px, -fraction_px / 2]).expand(n, 2)
    scan = replace(scan, shifts=shifts, positions_yx=scan.centers.double().numpy() + shifts.double().numpy())
    probes = scan.probes_of(torch.arange(n))
    patches = cut_patches(tiny_object() if object_hw is None else object_hw, scan.centers, N)
    return replace(scan, counts=diffraction_intensity(patches, probes))


def quietly(scan: ScanTensors, solver: SolverConfig, seed: int = 0) -> torch.Tensor:
    return solve(scan, OBJECT_SHAPE, solver, seed=seed, tick=lambda: None)


@clients
@pytest.mark.parametrize("fraction_px", [0.0, 0.3, -0.45, -0.5])
def test_the_frozen_truth_leaves_no_error(fraction_px: float) -> None:
    """At whole positions and between them: both models shift the probe. Halves are rounded up here, to even there."""
    assert model_error(clean_scan(fraction_px=fraction_px), tiny_object()) < IDENTICAL


@clients
@pytest.mark.parametrize("odd", [(1, 0), (0, 1), (1, 1)])
def test_an_odd_canvas_makes_no_half_pixel(odd: tuple[int, int]) -> None:
    canvas = torch.nn.functional.pad(tiny_object(), (0, odd[1], 0, odd[0]), value=1)
    assert model_error(clean_scan(), canvas) < IDENTICAL


@clients
def test_half_a_pixel_is_seen() -> None:
    scan = clean_scan()
    moved = replace(scan, positions_yx=scan.positions_yx + np.array([0.5, 0]))
    assert model_error(moved, tiny_object()) > 1000 * IDENTICAL


@clients
@pytest.mark.parametrize("wrong", ["turned", "mirrored", "amplitudes", "corner"])
def test_a_convention_that_is_confused_is_seen(wrong: str) -> None:
    scan = clean_scan()
    confused = {
        "turned": replace(scan, positions_yx=scan.positions_yx[:, ::-1].copy().clip(N // 2, 80 - N // 2)),
        "mirrored": replace(scan, positions_yx=np.array([80, 0]) + np.array([-1, 1]) * scan.positions_yx),
        "amplitudes": replace(scan, counts=scan.counts.sqrt()),
        "corner": replace(scan, counts=torch.fft.fftshift(scan.counts, dim=(-2, -1))),
    }[wrong]
    assert model_error(confused, tiny_object()) > 0.1


@clients
@each_solver
def test_a_clean_scan_gives_the_object(solver: SolverConfig) -> None:
    scan = clean_scan(fraction_px=0.25)
    light = light_on_canvas(scan, OBJECT_SHAPE).numpy()
    truth, flat = tiny_object().numpy(), torch.ones(OBJECT_SHAPE).numpy()
    bright = (light > 0.2 * light.max()).astype(float)
    made, nothing = (score(one.astype(complex), truth.astype(complex), bright) for one in (quietly(scan, solver).numpy(), flat))
    assert made.nmse < nothing.nmse / 10
    assert made.collapse_reason is None


@clients
@each_solver
def test_the_probe_stays_as_it_is(solver: SolverConfig) -> None:
    scan = tiny_scan(60)
    with ptychi_solver._ptychi() as ptychi:
        options = ptychi_solver._options(ptychi, solver, 0, scan)
        task = ptychi_solver._task(ptychi, options, scan, torch.ones(OBJECT_SHAPE, dtype=torch.complex64))
        before = task.get_data_to_cpu("probe").clone()
        task.run(15)  # every tenth epoch it would be given a share of the object's scale
        assert torch.equal(task.get_data_to_cpu("probe"), before)


@clients
@each_solver
def test_the_same_seed_gives_the_same_bytes_and_another_another_order(solver: SolverConfig) -> None:
    scan, solver = tiny_scan(60), solver.model_copy(update={"epochs": 2, "batch_size": 20})
    torch.set_num_threads(2)  # which must not race either
    assert torch.equal(quietly(scan, solver), quietly(scan, solver))
    assert not torch.equal(quietly(scan, solver), quietly(scan, solver, seed=1))


@clients
@each_solver
def test_epoch_by_epoch_is_one_run(solver: SolverConfig) -> None:
    scan = tiny_scan(60)
    with ptychi_solver._ptychi() as ptychi:
        options = ptychi_solver._options(ptychi, solver, 0, scan)
        task = ptychi_solver._task(ptychi, options, scan, torch.ones(OBJECT_SHAPE, dtype=torch.complex64))
        task.run(solver.epochs)
        assert torch.equal(ptychi_solver._object(task, OBJECT_SHAPE), quietly(scan, solver))


@clients
def test_it_leaves_the_process_as_it_was() -> None:
    scan, state = tiny_scan(30), torch.random.get_rng_state()
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    quietly(scan, replace_epochs(LSQML, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32
    assert torch.are_deterministic_algorithms_enabled() == is_deterministic
    assert torch.zeros(1).device.type == "cpu"


@clients
@each_solver
def test_it_says_nothing(solver: SolverConfig, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """No bar, and nothing in a log: not even where the patches fill the canvas to its rim."""
    caplog.set_level(logging.DEBUG)
    corners = torch.tensor([[N // 2, N // 2], [OBJECT_SHAPE[0] - N // 2, OBJECT_SHAPE[1] - N // 2]])
    scan = tiny_scan(2)
    quietly(replace(scan, centers=corners, positions_yx=corners.double().numpy() - 0.5), replace_epochs(solver, 2))
    assert capfd.readouterr() == ("", "")
    assert [record.getMessage() for record in caplog.records if record.name == "root" or "ptychi" in record.name] == []


@clients
def test_pty_chi_works_beside_a_torchvision_made_for_another_torch(tmp_path: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(broken)
    program = f"""import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(Path(__file__).parent)!r}]
from test_ptychi_solver import clean_scan, model_error, tiny_object
print(model_error(clean_scan(), tiny_object()) < {IDENTICAL}, [name for name in sys.modules if "torchvision" in name])"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True []\n", "")


@clients
def test_every_epoch_ticks_and_a_tick_may_end_it() -> None:
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(tiny_scan(30), OBJECT_SHAPE, LSQML, seed=0, tick=tick)
    assert ticks == 2


@clients
@pytest.mark.parametrize("batch_size", [1, 20, 60])
def test_rpie_converges_however_many_patterns_of_a_batch_overlap(batch_size: int) -> None:
    solver = RPIE.model_copy(update={"epochs": 20, "batch_size": batch_size})
    scan = clean_scan()
    assert model_error(scan, quietly(scan, solver)) < model_error(scan, torch.ones(OBJECT_SHAPE, dtype=torch.complex64)) / 30


@clients
def test_epie_takes_one_pattern_at_a_time_and_reaches_the_object() -> None:
    scan = clean_scan()
    assert model_error(scan, quietly(scan, EPIE)) < model_error(scan, torch.ones(OBJECT_SHAPE, dtype=torch.complex64)) / 30


@clients
def test_epie_is_not_rpie() -> None:
    scan = clean_scan()
    assert not torch.equal(quietly(scan, EPIE), quietly(scan, EPIE.model_copy(update={"method": "rpie"})))


@clients
@each_solver
def test_an_object_that_is_no_number_is_an_error(solver: SolverConfig) -> None:
    scan = tiny_scan(20)
    with pytest.raises(TrainingDivergedError, match="diverged in epoch 1"):
        quietly(replace(scan, counts=torch.full_like(scan.counts, torch.inf)), solver)


def replace_epochs(solver: SolverConfig, epochs: int) -> SolverConfig:
    return solver.model_copy(update={"epochs": epochs})


def test_without_pty_chi_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ptychi", None)
    monkeypatch.setitem(sys.modules, "ptychi.api", None)
    with pytest.raises(SolverUnavailableError) as caught:
        quietly(tiny_scan(8), LSQML)
    assert str(caught.value).startswith("The solver needs pty-chi, which cannot be imported")
    assert "pip install --no-deps ptychi==2.2.0" in str(caught.value)
    assert "make iterative" in str(caught.value)


class _Broken:
    """A torchvision of another torch: it raises when imported."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name.split(".")[0] == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")


def test_a_torchvision_that_cannot_be_imported_is_stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Broken(), *sys.meta_path])
    ptychi_solver._supply_torchvision()
    transforms = sys.modules["torchvision.transforms"]
    for name in ("torchvision", "torchvision.transforms"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SolverUnavailableError, match="A blur needs torchvision"):
        transforms.GaussianBlur(3)


def test_a_torchvision_that_works_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    working = ModuleType("torchvision.transforms")
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.transforms", working)
    ptychi_solver._supply_torchvision()
    assert sys.modules["torchvision.transforms"] is working
