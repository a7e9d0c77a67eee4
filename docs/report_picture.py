"""Draw the top of a study's report as a browser shows it: light on the left, dark on the right. Needs Debian's chromium.

python docs/report_picture.py outputs/fly64_demo docs/report.png
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.image import imread, imsave

from fly64_hpc import report

SIZE_PX = 900, 1720
DARK_FLAG = "--blink-settings=preferredColorScheme=0"


def report_picture(study: Path, target: Path) -> None:
    """Write the report of a study to a folder of its own, and its picture to `target`."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        report.main(["--study-dir", str(study), "--output", str(page)])
        light, dark = (
            screenshot(page, Path(folder) / f"{name}.png", flags) for name, flags in (("light", ()), ("dark", (DARK_FLAG,)))
        )
    imsave(target, np.hstack([light, dark]))


def screenshot(page: Path, file: Path, flags: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """What the browser shows of a page, (H, W, 3)."""
    width, height = SIZE_PX
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}"]
    command += [f"--user-data-dir={page.parent / file.stem}", f"--screenshot={file}", *flags, page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    return np.asarray(imread(file), np.float32)[..., :3]


if __name__ == "__main__":
    mpl.use("Agg")
    report_picture(Path(sys.argv[1]), Path(sys.argv[2]))
