"""Laws of the physics layer in front of a network."""

import torch
from torch import Tensor

from ptycho_torch.back_projection import REGULARIZATION, back_project
from ptycho_torch.physics import Illumination, diffraction_intensity, propagate

N = 16


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _probes(batch: int = 3) -> Tensor:
    return torch.randn(batch, N, N, dtype=torch.complex128, generator=_generator())


def image_of(counts: Tensor, probes: Tensor) -> Tensor:
    return back_project(counts, Illumination.of(probes))


def test_empty_field_of_view_back_projects_to_nothing() -> None:
    probes = _probes()
    image = image_of(diffraction_intensity(torch.ones(N, N), probes), probes)
    assert image.abs().max() < 1e-10


def test_back_projection_is_affine_in_the_counts() -> None:
    probes = _probes()
    first, second = torch.rand(2, 3, N, N, dtype=torch.float64, generator=_generator(1)).unbind()
    mixed = image_of(0.3 * first + 0.7 * second, probes)
    assert torch.allclose(mixed, 0.3 * image_of(first, probes) + 0.7 * image_of(second, probes), atol=1e-12)


def test_back_projection_follows_its_formula() -> None:
    probe, counts = _probes(1)[0], torch.rand(N, N, dtype=torch.float64, generator=_generator(1))
    far = propagate(probe)
    empty = far.abs() ** 2
    amplitude = (counts - empty) / (empty + REGULARIZATION * empty.mean()).sqrt()
    expected = probe.conj() * torch.fft.ifft2(amplitude * torch.exp(1j * far.angle()), norm="ortho")
    assert torch.allclose(image_of(counts, probe), expected, atol=1e-12)


def test_the_far_field_is_the_one_that_was_given() -> None:
    probes, counts = _probes(), torch.rand(3, N, N, dtype=torch.float64, generator=_generator(1))
    assert torch.equal(back_project(counts, Illumination(probes, 0 * probes)), torch.zeros_like(probes))


def test_image_of_a_brighter_exposure_is_as_much_brighter() -> None:
    probes = _probes()
    counts = diffraction_intensity(1 + 0.1 * _probes(), probes)
    assert torch.allclose(image_of(100 * counts, 10 * probes), 100 * image_of(counts, probes), atol=1e-8)


def test_more_light_everywhere_shows_as_more_amplitude() -> None:
    probes = _probes()
    image = image_of(diffraction_intensity(1.1 * torch.ones(N, N), probes), probes)
    assert (image.real.sum(dim=(1, 2)) > 0).all()


def test_pattern_without_light_gives_finite_numbers() -> None:
    image = image_of(torch.zeros(1, N, N), torch.zeros(1, N, N, dtype=torch.complex64) + 1)
    assert torch.isfinite(torch.view_as_real(image)).all()
