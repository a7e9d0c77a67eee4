"""Say as JSON what `silx view` shows when it opens FILE."""

import hashlib
import json
import sys

import numpy as np
import silx.io
from silx.io import nxdata


def main() -> None:
    with silx.io.open(sys.argv[1]) as file:
        plot = nxdata.get_default(file)
        said = {
            "is_valid": plot.is_valid,
            "is_image": plot.is_image,
            "path": plot.group.name,
            "signal": plot.signal_dataset_name,
            "shape": plot.signal.shape,
            "sha256": hashlib.sha256(np.ascontiguousarray(plot.signal[()]).tobytes()).hexdigest(),
            "auxiliary": plot.auxiliary_signals_dataset_names,
            "axes": plot.axes_dataset_names,
            "units": [str(axis.attrs["units"]) for axis in plot.axes],
        }
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
