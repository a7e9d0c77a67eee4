"""The object and probe that Phase C illuminates: computed, or read from a file and brought to the study's patch size."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ptycho_torch.config import BaseConfig
from ptycho_torch.errors import ConfigError, DataContractError
from ptycho_torch.npz_archive import read_arrays
from ptycho_torch.objects import make_object
from ptycho_torch.probes import zone_plate_probe

__all__ = ["load_base"]

_Field: TypeAlias = npt.NDArray[np.complex64]
_KEY_PAIRS = (("objectGuess", "probeGuess"), ("obj", "probe"))


def load_base(base: BaseConfig, patch_size_px: int) -> tuple[_Field, _Field]:
    """The object and probe of a study, at its patch size N and in one gauge.

    Only P · O is physical, so the scales are free: here mean |O| = 1 and Σ|P|² = (N/2)², which keeps stored amplitudes near 1.

    Parameters
    ----------
    base
        A procedural base or an NPZ file; `base.reduction` brings a probe larger than N to N.
    patch_size_px
        N.

    Returns
    -------
    (H, W) complex64 object, H and W even, and (N, N) complex64 probe.

    Raises
    ------
    DataContractError
        The file is missing, damaged, pickled, lacks a key, or holds something other than a complex object and probe.
    ConfigError
        The probe cannot be made N by N, or the base is a measured scan, which brings no object.
    """
    if base.procedural is not None:
        return _in_gauge(make_object(base.procedural), zone_plate_probe(patch_size_px))
    if base.npz is None:
        raise ConfigError("A measured base has no object to illuminate.", hint="Give base.npz or base.procedural to simulate.")
    source = Path(base.npz)
    object_hw, probe = _reduce(*_read_base(source), base, patch_size_px)
    return _in_gauge(_even(object_hw), probe)


def _read_base(source: Path) -> tuple[_Field, _Field]:
    arrays = read_arrays(source, {key for pair in _KEY_PAIRS for key in pair})
    for object_key, probe_key in _KEY_PAIRS:
        if object_key in arrays and probe_key in arrays:
            return _complex_image(arrays[object_key], object_key, source), _square(
                _complex_image(arrays[probe_key], probe_key, source), probe_key, source
            )
    raise DataContractError(
        f"{source}: needs `objectGuess` and `probeGuess`, or `obj` and `probe`; of these it holds {sorted(arrays) or 'none'}.",
        hint="Save a reconstruction's object and probe under one of these pairs of names.",
    )


def _complex_image(array: npt.NDArray[Any], key: str, source: Path) -> _Field:
    if not np.issubdtype(array.dtype, np.complexfloating):
        raise DataContractError(
            f"{source}: `{key}` has dtype {array.dtype}; allowed is complex64 or complex128.",
            hint="Amplitude and phase belong in one array, amplitude * exp(1j * phase).",
        )
    if array.ndim != 2:
        raise DataContractError(
            f"{source}: `{key}` has shape {array.shape}; allowed is one image (rows, columns).",
            hint="Choose one slice, or one mode of the probe.",
        )
    if not np.isfinite(array).all() or not array.any():
        raise DataContractError(f"{source}: `{key}` holds NaN or infinity, or is zero everywhere.", hint="Was it reconstructed?")
    return array.astype(np.complex64)


def _square(probe: _Field, key: str, source: Path) -> _Field:
    if probe.shape[0] != probe.shape[1]:
        raise DataContractError(
            f"{source}: `{key}` has shape {probe.shape}; allowed is a square (N, N).", hint="Crop it to a square about the beam."
        )
    return probe


def _reduce(object_hw: _Field, probe: _Field, base: BaseConfig, patch_size_px: int) -> tuple[_Field, _Field]:
    probe_size = len(probe)
    if probe_size < patch_size_px:
        raise ConfigError(
            f"{base.npz}: the probe is {probe_size} px wide, but patch_size_px is {patch_size_px}; it can only be made smaller.",
            hint=f"Set patch_size_px to at most {probe_size}.",
        )
    if base.reduction == "crop":
        margin = probe_size // 2 - patch_size_px // 2
        return object_hw, probe[margin : margin + patch_size_px, margin : margin + patch_size_px]
    if probe_size % patch_size_px:
        raise ConfigError(
            f"{base.npz}: a probe of {probe_size} px cannot be binned to patch_size_px {patch_size_px}: not a whole factor.",
            hint="Choose a patch size that divides it, or base.reduction=crop.",
        )
    factor = probe_size // patch_size_px
    return block_mean(object_hw, factor), block_mean(probe, factor)


def block_mean(image: _Field, factor: int) -> _Field:
    """The mean of each block of factor by factor pixels; rows and columns that fill no block are left out.

    Parameters
    ----------
    image
        (H, W).
    factor
        Block side [px].

    Returns
    -------
    (H // factor, W // factor).
    """
    height, width = (length // factor for length in image.shape)
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor)
    means: _Field = blocks.mean(axis=(1, 3))
    return means


def _even(object_hw: _Field) -> _Field:
    """Without the last row or column where their number is odd: an odd canvas has no centre pixel."""
    return object_hw[: object_hw.shape[0] // 2 * 2, : object_hw.shape[1] // 2 * 2]


def _in_gauge(object_hw: _Field, probe: _Field) -> tuple[_Field, _Field]:
    mean_amplitude = np.abs(object_hw).mean(dtype=np.float64)
    probe_scale = len(probe) / 2 / np.linalg.norm(probe.astype(np.complex128))
    return (object_hw / mean_amplitude).astype(np.complex64), (probe * probe_scale).astype(np.complex64)
