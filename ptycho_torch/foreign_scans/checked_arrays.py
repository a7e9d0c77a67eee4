"""What every format's small arrays are held to: kind of number, shape, nothing infinite."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ptycho_torch.errors import DataContractError
from ptycho_torch.foreign_scans.foreign_scan import Mask, Modes
from ptycho_torch.npz_archive import AnyArray

_KIND_WORDS = {"fiu": "real", "c": "complex"}


def check_numbers(key: str, array: AnyArray, kinds: str, source: Path) -> None:
    """Refuse an array that is not of finite numbers of these kinds (`fiu` or `c`).

    Raises
    ------
    DataContractError
        It is not.
    """
    check_kind(key, array.dtype, kinds, source)
    if not np.isfinite(array).all():
        raise not_finite(key, source)


def check_kind(key: str, dtype: np.dtype[np.generic], kinds: str, source: Path) -> None:
    """Refuse numbers of another kind.

    Raises
    ------
    DataContractError
        They are.
    """
    if dtype.kind not in kinds:
        raise DataContractError(
            f"{source}: `{key}` has dtype {dtype}; allowed are {_KIND_WORDS[kinds]} numbers.", hint="Convert it first."
        )


def not_finite(key: str, source: Path) -> DataContractError:
    """The error for NaN or infinity."""
    return DataContractError(
        f"{source}: `{key}` holds NaN or infinity; allowed are finite numbers.", hint="Mask or repair them first."
    )


def wrong_shape(source: Path, key: str, array: AnyArray, allowed: str) -> DataContractError:
    """The error for a shape."""
    return DataContractError(
        f"{source}: `{key}` has shape {array.shape}; allowed is {allowed}.", hint="Crop or complete it in the source file."
    )


def as_modes(probe: AnyArray, key: str, source: Path) -> Modes:
    """A probe as (modes, H, W): of several orthogonal probe relaxations the first, and a single mode with its axis.

    Raises
    ------
    DataContractError
        It is not complex and finite, or has no such shape.
    """
    probe = probe[0] if probe.ndim == 4 else probe
    if probe.ndim == 2:
        probe = probe[np.newaxis]
    if probe.ndim != 3:
        raise wrong_shape(source, key, probe, "(H, W), (modes, H, W) or (OPR modes, modes, H, W)")
    check_numbers(key, probe, "c", source)
    if not probe.any():
        raise DataContractError(f"{source}: `{key}` is zero everywhere.", hint="Give a first guess of the probe.")
    return probe.astype(np.complex128)


def opr_words(shape: tuple[int, ...]) -> tuple[str, ...]:
    """What to say of a probe (OPR modes, modes, H, W) of which only the first OPR mode is read."""
    return (f"of {shape[0]} OPR modes of the probe the first",) if len(shape) == 4 and shape[0] > 1 else ()


def as_coordinates(coordinates: AnyArray, key: str, source: Path) -> npt.NDArray[np.float64]:
    """One coordinate of all positions, (n,) float64.

    Raises
    ------
    DataContractError
        It is not real, finite and (n,).
    """
    if coordinates.ndim != 1:
        raise wrong_shape(source, key, coordinates, "(n,)")
    check_numbers(key, coordinates, "fiu", source)
    return coordinates.astype(np.float64)


def as_object(image: AnyArray, key: str, source: Path) -> npt.NDArray[np.complex64]:
    """An object (H, W): of several layers, which must be one, that one.

    Raises
    ------
    DataContractError
        It is not complex, finite and (H, W).
    """
    if image.ndim == 3 and len(image) == 1:
        image = image[0]
    if image.ndim != 2:
        raise wrong_shape(source, key, image, "(H, W), one layer")
    check_numbers(key, image, "c", source)
    return image.astype(np.complex64)


def as_mask(mask: AnyArray | None) -> Mask | None:
    """True where a mask is not zero; None where nothing is."""
    return None if mask is None or not mask.any() else np.asarray(mask != 0)
