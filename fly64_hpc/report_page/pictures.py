"""Phase images as PNG files: eight bits a pixel with a palette, small enough to lie in a page."""

import functools
import math
import struct
import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fly64_hpc.report_page.markup import Markup, tag
from fly64_hpc.report_page.tables import data_uri
from fly64_hpc.report_page.words import radians

COLOUR_MAP = "inferno"
COLOUR_WORDS = "from black through violet and orange to pale yellow"
COLOURS = 255
"""The palette's last entry is left for pixels that no pattern saw: it is transparent."""
UNSEEN = 255
MOST_PX = 320
"""Of a side: a larger image is averaged over squares of pixels until it fits."""
QUANTILES = (0.005, 0.995)

Phase = npt.NDArray[np.float64]
Limits = tuple[float, float]


def png(indices: npt.NDArray[np.uint8]) -> bytes:
    """A PNG of palette indices (H, W)."""
    height, width = indices.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = indices
    transparency = bytes([255] * COLOURS + [0])
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", _palette()),
        (b"tRNS", transparency),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@functools.cache
def _palette() -> bytes:
    from matplotlib import colormaps  # takes half a second to import

    colours = colormaps[COLOUR_MAP](np.linspace(0, 1, COLOURS))[:, :3]
    return np.vstack([np.rint(colours * 255), np.zeros(3)]).astype(np.uint8).tobytes()


def shrunk(image: npt.NDArray[np.complex128], most_px: int = MOST_PX) -> npt.NDArray[np.complex128]:
    """The image (H, W), averaged over squares of pixels so that no side is longer than `most_px`; what is left over at the far
    edges is cut off."""
    factor = math.ceil(max(image.shape) / most_px)
    height, width = (side // factor for side in image.shape)
    squares = image[: height * factor, : width * factor].reshape(height, factor, width, factor)
    small: npt.NDArray[np.complex128] = squares.mean(axis=(1, 3))
    return small


def phase_limits(images: Iterable[npt.NDArray[np.complex128]]) -> Limits:
    """What the phases of images span [rad], but for half a hundredth at each end; of nothing the whole circle."""
    phases = [np.angle(image[image != 0]) for image in images]
    known = np.concatenate(phases) if phases else np.empty(0)
    if known.size == 0:
        return -math.pi, math.pi
    low, high = (float(value) for value in np.quantile(known, QUANTILES))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def phase_picture(image: npt.NDArray[np.complex128], limits: Limits, alt: str) -> Markup:
    """The phase of an image (H, W), zero where no pattern looked, as an element that holds its file."""
    small = shrunk(image)
    share = (np.angle(small) - limits[0]) / (limits[1] - limits[0])
    indices = np.where(small == 0, UNSEEN, np.clip(share, 0, 1) * (COLOURS - 1)).round().astype(np.uint8)
    height, width = indices.shape
    return tag("img", src=data_uri("image/png", png(indices)), alt=alt, width=width, height=height, class_="phase")


def colour_bar(limits: Limits) -> Markup:
    """Which colour is which phase, in radians."""
    ramp = np.arange(COLOURS, dtype=np.uint8)[None, :]
    low, high = limits
    alt = f"Colour bar of the phase, {COLOUR_WORDS}: {radians(low)} to {radians(high)}."
    bar = tag("img", src=data_uri("image/png", png(ramp)), alt=alt, width=COLOURS, height=1)
    marks = (tag("span", radians(value)) for value in (low, (low + high) / 2, high))
    return tag("div", bar, tag("div", *marks, class_="marks", aria_hidden="true"), class_="colour-bar")
