"""The eight ways to turn and mirror an image: a network that is shown them all learns edges of every direction from a few."""

from torch import Tensor

N_TURNS = 8


def turned(images: Tensor, turn: int) -> Tensor:
    """Images (..., H, W) in one of the eight ways, 0 as they are; odd quarter turns swap height and width."""
    if turn & 4:
        images = images.transpose(-1, -2)
    return images.flip(_mirrored_axes(turn))


def turned_back(images: Tensor, turn: int) -> Tensor:
    """Undo `turned`."""
    images = images.flip(_mirrored_axes(turn))
    return images.transpose(-1, -2) if turn & 4 else images


def _mirrored_axes(turn: int) -> list[int]:
    return [axis for axis, bit in ((-1, 1), (-2, 2)) if turn & bit]
