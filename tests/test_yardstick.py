"""What reconstructions of a half are held to, with a truth and without."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_jobs import OBJECT_SHAPE, N, tiny_dataset, tiny_job, tiny_object

from ptycho_torch.config import SolverConfig
from ptycho_torch.errors import DataContractError, SolverDivergedError
from ptycho_torch.model import seeded_model
from ptycho_torch.network_evaluation import evaluate_network
from ptycho_torch.npz_archive import read_arrays
from ptycho_torch.npz_contract import write_dataset
from ptycho_torch.solvers import passes, run_solver
from ptycho_torch.yardstick import Reconstructed, Yardstick, yardstick

CPU = torch.device("cpu")


def half(folder: Path, *, with_truth: bool = True) -> Yardstick:
    write_dataset(folder / "half.npz", tiny_dataset(with_truth=with_truth))
    return yardstick(folder / "half.npz", patch_size_px=N, dose_photons=1e4, device=CPU)


def test_the_truth_scores_full_marks_and_explains_held_out_photons_best(tmp_path: Path) -> None:
    one = half(tmp_path)
    figures = one.measure(Reconstructed(tiny_object(), tiny_object(), 0.0))
    assert figures["scores"]["nmse"] == pytest.approx(0, abs=1e-9)
    assert figures["held_out_deviance"] == one.facts()["true_held_out_deviance"]
    assert figures["held_out_deviance"] < one.facts()["flat"]["held_out_deviance"]


def test_the_same_photons_judge_every_method(tmp_path: Path) -> None:
    first, second = half(tmp_path), half(tmp_path)
    assert torch.equal(first.exposures.held.counts, second.exposures.held.counts)
    assert torch.equal(first.exposures.fed.counts + first.exposures.held.counts, first.exposures.whole.counts)


def test_a_measured_scan_is_compared_with_an_iterative_reconstruction_and_says_so(tmp_path: Path) -> None:
    one = half(tmp_path, with_truth=False)
    facts = one.facts()
    assert facts["scored_against"] == "gradient reconstruction"
    assert facts["true_held_out_deviance"] is None
    flat, reference = facts["flat"], one.measure(Reconstructed(torch.from_numpy(one.reference), None, 0.0))
    assert reference["scores"]["nmse"] == pytest.approx(0, abs=1e-9)
    assert flat["scores"]["nmse"] > 0.05


def test_the_reference_of_a_measured_scan_is_near_to_the_truth_that_we_know(tmp_path: Path) -> None:
    one = half(tmp_path, with_truth=False)
    known = replace(one, truth=tiny_object().numpy()[: one.object_shape[0], : one.object_shape[1]])
    made = Reconstructed(torch.from_numpy(one.reference), None, 0.0)
    assert known.measure(made)["scores"]["nmse"] < known.facts()["flat"]["scores"]["nmse"] / 3


def test_a_solver_that_is_the_reference_is_at_no_distance_from_itself(tmp_path: Path) -> None:
    one = half(tmp_path, with_truth=False)
    made = run_solver(SolverConfig(method="gradient", epochs=15), one, seed=0, tick=lambda: None)
    figures = one.measure(made, is_reference=True)
    assert figures["scores"] is None
    assert figures["held_out_deviance"] < one.facts()["flat"]["held_out_deviance"]
    assert half(tmp_path).measure(made, is_reference=True)["scores"] is not None


def test_what_is_saved_is_what_was_compared(tmp_path: Path) -> None:
    one = half(tmp_path)
    turned = tiny_object() * torch.polar(torch.tensor(1.0), torch.tensor(0.7))
    record = one.save(Reconstructed(turned, None, 0.0), tmp_path / "turned.npz")
    saved = read_arrays(tmp_path / record["file"], ("object", "light", "box", "aligned", "expected"))
    np.testing.assert_array_equal(saved["object"], turned.numpy())
    np.testing.assert_allclose(saved["aligned"], saved["expected"], atol=1e-3)
    assert saved["expected"].shape == (saved["box"][1] - saved["box"][0], saved["box"][3] - saved["box"][2])


def test_a_network_and_its_refinement(tmp_path: Path) -> None:
    one, job = half(tmp_path), tiny_job()
    made = evaluate_network(seeded_model(job), job, one, known=False)
    network, refined = (one.measure(made[name]) for name in ("network", "refined"))
    assert (network["steps"], refined["steps"] > 0) == (None, True)
    assert refined["held_out_deviance"] < network["held_out_deviance"]
    assert refined["scores"]["nmse"] < network["scores"]["nmse"]
    assert made["network"].object_hw.shape == OBJECT_SHAPE


def test_a_solver_that_diverges_is_an_error_and_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverging(*_: object, **__: object) -> torch.Tensor:
        return torch.full(OBJECT_SHAPE, float("nan"), dtype=torch.complex64)

    monkeypatch.setattr("ptycho_torch.solvers.solve", diverging)
    with pytest.raises(SolverDivergedError, match="reconstruction by rpie became infinite or not a number within 7 epochs"):
        run_solver(SolverConfig(method="rpie", epochs=7), half(tmp_path), seed=0, tick=lambda: None)


def test_patterns_of_another_size_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "half.npz", tiny_dataset(with_truth=True))
    with pytest.raises(DataContractError, match="patterns of 32 px; allowed are those of the job's patch_size_px, 64"):
        yardstick(tmp_path / "half.npz", patch_size_px=64, dose_photons=1e4, device=CPU)


@pytest.mark.parametrize(
    ("method", "is_measured", "expected"),
    [("gradient", False, 22), ("gradient", True, 22), ("rpie", False, 10), ("rpie", True, 20)],
)
def test_passes_over_a_half(method: str, is_measured: bool, expected: int) -> None:
    assert passes(SolverConfig.model_validate({"method": method, "epochs": 10}), is_measured=is_measured) == expected
