"""The dictionary that legacy readers of the configuration share, with the defaults they had when nothing filled it.

`legacy_bridge` is the only writer (CONFIG-001). The defaults disagree with a job's values on purpose, as they always did
(N 128, gridsize 2): whoever reads before the bridge has run gets another network than the one asked for.
"""

from typing import Any


def legacy_defaults() -> dict[str, Any]:
    """Every legacy key that has a value before a configuration arrives, freshly made."""
    return {
        "N": 128,
        "offset": 4,
        "gridsize": 2,
        "outer_offset_train": None,
        "outer_offset_test": None,
        "batch_size": 16,
        "nepochs": 60,
        "n_filters_scale": 2,
        "output_prefix": "outputs",
        "big_gridsize": 10,
        "max_position_jitter": 10,
        "sim_jitter_scale": 0.0,
        "default_probe_scale": 0.7,
        "mae_weight": 0.0,
        "nll_weight": 1.0,
        "tv_weight": 0.0,
        "realspace_mae_weight": 0.0,
        "realspace_weight": 0.0,
        "nphotons": 1e9,
        "nimgs_train": 9,
        "nimgs_test": 3,
        "data_source": "generic",
        "probe.trainable": False,
        "intensity_scale.trainable": False,
        "positions.provided": False,
        "object.big": True,
        "probe.big": False,
        "probe_scale": 10.0,
        "set_phi": False,
        "probe.mask": True,
        "pad_object": True,
        "model_type": "pinn",
        "label": "",
        "size": 392,
        "amp_activation": "sigmoid",
        "h5_path": "wts.h5",
        "npseed": 42,
        "debug": True,
        "gaussian_smoothing_sigma": 0.0,
        "use_xla_translate": True,
    }


cfg: dict[str, Any] = legacy_defaults()
"""The one dictionary of this process."""


def reset() -> None:
    """Give `cfg` its defaults again and nothing else; the dictionary stays the same object."""
    cfg.clear()
    cfg.update(legacy_defaults())
