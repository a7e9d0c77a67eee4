"""What patterns leave open of a probe that is refined together with its object, and how it is settled.

None of these changes a pattern at unchanged positions:

    scale    a P, O / a              its energy is the mean photons of a pattern: |O| about 1
    phase    e^{iφ} P, e^{-iφ} O     Σ conj(start) P is real and positive
    shift    P(r - d), O(r - d)      the centroid of its light lies where the start's lies
    tilt     e^{iκr} P, e^{-iκr} O   the centroid of its far field lies where the start's lies

Positions whose both axes are turned make a fifth: conj P(-r) with conj O(-r).
"""

import numpy as np
import numpy.typing as npt

Probe = npt.NDArray[np.complex128]
_ROUNDS = 3
"""A shift moves the far field by nothing, but a window that is cut off bends both a little."""


def settled(probe: Probe, start: Probe) -> Probe:
    """A probe (N, N), centre at N/2, with scale, phase, shift and tilt of another one (N, N)."""
    for _ in range(_ROUNDS):
        probe = _moved(probe, centroid(start) - centroid(probe))
        probe = tilted(probe, centroid(far_field(start)) - centroid(far_field(probe)))
    overlap = np.vdot(start, probe)
    turn = overlap / np.abs(overlap) if np.abs(overlap) > 0 else 1.0
    return np.asarray(probe * (np.linalg.norm(start) / np.linalg.norm(probe) / turn))


def centroid(field: Probe) -> npt.NDArray[np.float64]:
    """Where the light of a field (N, N) has its centre, on a circle: (2,) from the centre pixel, in [-N/2, N/2] [px]."""
    size = len(field)
    light = np.abs(field) ** 2
    turns = np.exp(2j * np.pi * (np.arange(size) - size // 2) / size)
    return np.array([np.angle(light.sum(axis=1 - axis) @ turns) * size / (2 * np.pi) for axis in (0, 1)])


def far_field(probe: Probe) -> Probe:
    """The far field (N, N) of a probe (N, N), the centre of both at N/2."""
    return np.asarray(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe), norm="ortho")))


def tilted(probe: Probe, by_yx: npt.NDArray[np.float64]) -> Probe:
    """The probe (N, N) whose far field lies `by_yx` (2,) further [detector px]."""
    offsets = np.arange(len(probe)) - len(probe) // 2
    rows, columns = (np.exp(2j * np.pi * step * offsets / len(probe)) for step in by_yx)
    return np.asarray(probe * rows[:, np.newaxis] * columns)


def _moved(probe: Probe, by_yx: npt.NDArray[np.float64]) -> Probe:
    frequencies = np.fft.fftfreq(len(probe))
    rows, columns = (np.exp(-2j * np.pi * step * frequencies) for step in by_yx)
    return np.asarray(np.fft.ifft2(np.fft.fft2(probe) * rows[:, np.newaxis] * columns))
