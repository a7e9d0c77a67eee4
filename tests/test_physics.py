"""Laws of the forward model: energy, adjoints, shifts, and a closed form."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ptycho_torch.physics import (
    add_patches,
    amplitude_residual,
    back_propagate,
    cut_patches,
    diffraction_intensity,
    gather_probe,
    illuminate,
    intensity,
    propagate,
    shift_probe,
    split_positions,
)

N = 16
SHAPE = (40, 52)
CENTERS = torch.tensor([[8, 8], [20, 31], [32, 44], [21, 30]])


def _complex(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def _gaussian(sigma_px: float) -> Tensor:
    """A Gaussian about pixel N/2, of unit peak: (N, N) real."""
    line = torch.exp(-((torch.arange(N, dtype=torch.float64) - N // 2) ** 2) / (2 * sigma_px**2))
    return line[:, None] * line[None, :]


def _inner(a: Tensor, b: Tensor) -> complex:
    return complex((a.conj() * b).sum())


def test_propagation_conserves_photons() -> None:
    probes, patches = _complex(3, N, N), _complex(3, N, N, seed=1)
    illuminated = (probes * patches).abs().square().sum(dim=(1, 2))
    assert torch.allclose(diffraction_intensity(patches, probes).sum(dim=(1, 2)), illuminated, rtol=1e-12)


def test_back_propagation_is_adjoint_and_inverse() -> None:
    near, far = _complex(2, N, N), _complex(2, N, N, seed=1)
    assert _inner(far, propagate(near)) == pytest.approx(_inner(back_propagate(far), near), rel=1e-12)
    assert torch.allclose(back_propagate(propagate(near)), near, rtol=1e-12)


def test_empty_field_under_flat_probe_is_one_bright_pixel_at_the_corner() -> None:
    intensity = diffraction_intensity(torch.ones(N, N), torch.ones(N, N, dtype=torch.complex128))
    assert intensity[0, 0].item() == pytest.approx(N**2)
    assert intensity.sum().item() == pytest.approx(N**2)


def test_far_field_of_a_gaussian_is_the_closed_form() -> None:
    sigma = 2.0
    frequencies = torch.fft.fftfreq(N, dtype=torch.float64)
    line = math.sqrt(2 * math.pi) * sigma * torch.exp(-2 * (math.pi * sigma * frequencies) ** 2)
    expected = (line[:, None] * line[None, :] / N) ** 2
    intensity = diffraction_intensity(torch.ones(N, N), _gaussian(sigma).to(torch.complex128))
    assert torch.allclose(intensity, expected, atol=2e-3 * expected.max().item())


@pytest.mark.parametrize("shapes", [((3, 4, 4), (3, 4, 4)), ((3, 4, 4), (4, 4))], ids=["a probe each", "one probe"])
def test_gradient_of_the_intensity_is_that_of_its_formula(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    patches, probes = (_complex(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes))
    assert torch.autograd.gradcheck(diffraction_intensity, (patches, probes))
    assert torch.autograd.gradcheck(lambda patches: diffraction_intensity(patches, probes.detach()), (patches,))


def test_a_step_by_the_amplitude_residual_makes_the_counts_of_a_little_more_light() -> None:
    """(n - I) / √I is twice the change of the amplitude, to first order; phases stay."""
    far_fields = _complex(2, N, N)
    expected, none = intensity(far_fields), torch.zeros((), dtype=torch.float64)
    stepped = far_fields + 0.5 * amplitude_residual(far_fields, expected, 1.001 * expected, none)
    torch.testing.assert_close(intensity(stepped), 1.001 * expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(stepped.angle(), far_fields.angle(), rtol=0, atol=1e-12)


def test_amplitude_residual_of_a_dark_far_field_is_nothing() -> None:
    dark = torch.zeros(N, N, dtype=torch.complex64)
    asked = amplitude_residual(dark, intensity(dark), torch.ones(N, N), torch.tensor(0.1))
    assert torch.equal(asked, dark)


def test_cutting_and_adding_patches_are_adjoint() -> None:
    canvas, patches = _complex(*SHAPE), _complex(4, N, N, seed=1)
    forward = _inner(patches, cut_patches(canvas, CENTERS, N))
    assert forward == pytest.approx(_inner(add_patches(patches, CENTERS, SHAPE), canvas), rel=1e-12)


def test_patch_lies_where_the_contract_says() -> None:
    canvas = torch.arange(SHAPE[0] * SHAPE[1]).view(SHAPE)
    y, x = CENTERS[1].tolist()
    patch = cut_patches(canvas, CENTERS, N)[1]
    assert torch.equal(patch, canvas[y - N // 2 : y + N // 2, x - N // 2 : x + N // 2])


def test_shift_by_whole_pixels_is_a_roll() -> None:
    probe = _complex(N, N)
    moved = shift_probe(probe, torch.tensor([[3.0, -2.0], [0.0, 5.0]]))
    assert torch.allclose(moved[0], torch.roll(probe, (3, -2), (0, 1)), atol=1e-12)
    assert torch.allclose(moved[1], torch.roll(probe, (0, 5), (0, 1)), atol=1e-12)


def test_shift_moves_a_gaussian_by_a_fraction_of_a_pixel() -> None:
    line = torch.arange(N, dtype=torch.float64) - N // 2
    moved = shift_probe(_gaussian(1.5).to(torch.complex128), torch.tensor([[0.25, -0.4]]))[0]
    expected = torch.exp(-((line - 0.25) ** 2)[:, None] / 4.5 - ((line + 0.4) ** 2)[None, :] / 4.5)
    assert torch.allclose(moved, expected.to(moved.dtype), atol=2e-4)


@pytest.mark.parametrize("factor", [0, 1])
def test_who_moves_a_probe_knows_its_far_field(factor: int) -> None:
    probe, shifts = _complex(N, N), factor * torch.tensor([[0.25, -0.5], [0.0, 0.125]], dtype=torch.float64)
    probes, far_fields = illuminate(probe, shifts)
    assert torch.equal(probes, shift_probe(probe, shifts))
    torch.testing.assert_close(far_fields, propagate(probes))


def test_no_shift_is_the_probe_itself() -> None:
    probe = _complex(N, N)
    assert torch.equal(shift_probe(probe, torch.zeros(2, 2)), probe.expand(2, N, N))


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_shift_is_unitary_and_undone_by_its_opposite(dy: float, dx: float) -> None:
    probe = _complex(N, N)
    moved = shift_probe(probe, torch.tensor([[dy, dx]], dtype=torch.float64))[0]
    back = shift_probe(moved, torch.tensor([[-dy, -dx]], dtype=torch.float64))[0]
    assert moved.abs().square().sum().item() == pytest.approx(probe.abs().square().sum().item(), rel=1e-9)
    assert torch.allclose(back, probe, atol=1e-9)


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=1, max_size=8))
def test_positions_are_a_whole_pixel_and_less_than_half_another(positions: list[tuple[float, float]]) -> None:
    given_yx = torch.tensor(positions, dtype=torch.float64)
    centers, shifts = split_positions(given_yx)
    assert torch.equal(centers + shifts, given_yx)
    assert bool(((shifts >= -0.5) & (shifts < 0.5)).all())


@pytest.mark.parametrize("factor", [0, 1])
def test_gathering_probes_is_the_adjoint_of_shifting_one(factor: int) -> None:
    shifts = factor * torch.tensor([[0.25, -0.5], [0, 0.125], [-0.3, 0.4]], dtype=torch.float64)
    probe, probes = _complex(N, N), _complex(3, N, N, seed=1)
    assert _inner(shift_probe(probe, shifts), probes) == pytest.approx(_inner(probe, gather_probe(probes, shifts)), abs=1e-9)
