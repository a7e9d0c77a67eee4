"""Laws of the data-consistency steps: the truth stays, the likelihood falls, and held-out photons say when to stop."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from tiny_jobs import OBJECT_SHAPE, N, tiny_object, tiny_scan

from ptycho_torch.data_consistency import (
    DAMPING_SHARE,
    FLOOR_SHARE,
    descend,
    light_on_canvas,
    reconstruct_by_gradient,
    refine,
    take_steps,
)
from ptycho_torch.dataset import ScanTensors
from ptycho_torch.errors import PtychoError
from ptycho_torch.evaluation import complex_nmse
from ptycho_torch.held_out import Exposures, object_deviance, part_scan
from ptycho_torch.physics import cut_patches, diffraction_intensity

FLAT = torch.ones(OBJECT_SHAPE, dtype=torch.complex64)


def noise_free(scan: ScanTensors) -> ScanTensors:
    """The scan with the very intensities that `tiny_object` gives."""
    return replace(scan, counts=diffraction_intensity(cut_patches(tiny_object(), scan.centers, N), scan.probe))


def nmse(object_hw: torch.Tensor, scan: ScanTensors) -> float:
    """Against `tiny_object`, where there is a fifth of the brightest light or more; no phase is free, as O = 1 outside."""
    light = light_on_canvas(scan, OBJECT_SHAPE)
    seen = light > 0.2 * light.max()
    turn = (object_hw[seen] * tiny_object()[seen].conj()).sum()
    return complex_nmse((object_hw[seen] * (turn.conj() / turn.abs())).numpy(), tiny_object()[seen].numpy())


def test_the_truth_stays_where_there_is_no_noise() -> None:
    moved = take_steps(noise_free(tiny_scan()), tiny_object(), 5) - tiny_object()
    assert float(moved.abs().max()) < 1e-4


def test_a_flat_object_comes_to_the_truth_where_there_is_no_noise() -> None:
    scan = noise_free(tiny_scan(n=60))
    errors = [nmse(current, scan) for current in islice(descend(scan, FLAT), 101)]
    assert errors[0] > 0.1
    assert errors[100] < min(errors[0] / 30, errors[50])


def test_the_first_step_goes_downhill() -> None:
    scan = tiny_scan()
    before, after = (object_deviance(take_steps(scan, FLAT, steps), scan) for steps in (0, 1))
    assert after < before


def test_a_step_is_the_gradient_of_the_poisson_likelihood() -> None:
    """By automatic differentiation of Σ[I - n log I], each pattern's pixels weighted by √(I / (I + floor))."""
    scan = tiny_scan()
    step = take_steps(scan, FLAT, 1) - FLAT
    point = FLAT.clone().requires_grad_()
    intensity = diffraction_intensity(cut_patches(point, scan.centers, N), scan.probe.expand(len(scan), N, N))
    expected = intensity.detach()
    weights = torch.sqrt(expected / (expected + FLOOR_SHARE * scan.counts.mean()))
    torch.autograd.backward((weights * (1 - scan.counts / expected) * intensity).sum())
    light = light_on_canvas(scan, OBJECT_SHAPE)
    assert point.grad is not None
    # torch's gradient of a real function is twice that with respect to the conjugate
    torch.testing.assert_close(step, -point.grad / 2 * 0.5 / (light + DAMPING_SHARE * light.max()), atol=1e-5, rtol=1e-4)


def test_no_steps_are_the_start_itself() -> None:
    start = tiny_object()
    assert take_steps(tiny_scan(), start, 0) is start


def test_steps_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = tiny_scan()
    whole = take_steps(scan, FLAT, 3)
    monkeypatch.setattr("ptycho_torch.dataset.CHUNK_PATTERNS", 5)
    torch.testing.assert_close(take_steps(scan, FLAT, 3), whole, atol=1e-5, rtol=1e-5)


def exposures(scan: ScanTensors) -> Exposures:
    return part_scan(scan, 0.75, seed=0)


def test_two_exposures_share_the_photons_and_the_light() -> None:
    scan = tiny_scan()
    parts = exposures(scan)
    torch.testing.assert_close(parts.fed.counts + parts.held.counts, scan.counts)
    powers = [float(part.probe.abs().square().sum()) for part in (parts.fed, parts.held, scan)]
    assert powers[0] + powers[1] == pytest.approx(powers[2], rel=1e-5)
    assert powers[0] == pytest.approx(0.75 * powers[2], rel=1e-5)
    assert float(parts.fed.counts.sum()) == pytest.approx(0.75 * float(scan.counts.sum()), rel=0.01)


def test_the_truth_explains_held_out_photons_better_than_flat_does() -> None:
    held = exposures(tiny_scan()).held
    assert object_deviance(tiny_object(), held) < object_deviance(FLAT, held)


def test_the_number_of_steps_is_the_one_that_held_out_photons_like_best() -> None:
    parts = exposures(tiny_scan())
    refined = reconstruct_by_gradient(parts, OBJECT_SHAPE, most_steps=60)
    assert refined.deviances[refined.steps] == min(refined.deviances)
    assert 0 < refined.steps < 60
    torch.testing.assert_close(refined.fed_object_hw, take_steps(parts.fed, FLAT, refined.steps))
    torch.testing.assert_close(refined.object_hw, take_steps(parts.whole, FLAT, refined.steps))
    assert object_deviance(refined.fed_object_hw, parts.held) == pytest.approx(refined.deviances[refined.steps])


def test_what_is_perfect_already_is_left_alone() -> None:
    """At 20 photons a pattern steps from the truth only fit noise."""
    scan = tiny_scan()
    few = part_scan(scan, 0.002, seed=1).fed
    refined = refine(part_scan(few, 0.75, seed=2), tiny_object(), tiny_object(), most_steps=30)
    assert refined.steps == 0
    assert torch.equal(refined.object_hw, tiny_object())


def test_more_photons_call_for_no_fewer_steps() -> None:
    scan = tiny_scan(n=60)
    steps = [
        reconstruct_by_gradient(part_scan(part_scan(scan, share, seed=1).fed, 0.75, seed=2), OBJECT_SHAPE, 80).steps
        for share in (0.01, 0.9999)
    ]
    assert steps[0] < steps[1]


def test_the_same_scan_gives_the_same_bytes() -> None:
    made = [reconstruct_by_gradient(exposures(tiny_scan()), OBJECT_SHAPE, 20).object_hw for _ in range(2)]
    assert torch.equal(*made)


def test_work_ends_where_the_tick_raises() -> None:
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct_by_gradient(exposures(tiny_scan()), OBJECT_SHAPE, 20, tick)
    assert ticks == 3


def test_without_a_held_out_photon_nothing_is_scored() -> None:
    scan = tiny_scan()
    with pytest.raises(PtychoError, match="No photon was held out"):
        object_deviance(FLAT, replace(scan, counts=torch.zeros_like(scan.counts)))
