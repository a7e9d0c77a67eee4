"""A small study of two objects and two learning rates, as a person would write it, with the files that it names."""

from pathlib import Path

import numpy as np

NAME = "swept"
YAML = """\
study: swept
scan: {positions: 96, jitter_px: 1.0}
design:
  doses_photons: [1e4]
  patch_size_px: 32
  views:
    baseline: {gridsize: 1}
    sparse: {gridsize: 2, image_fraction: 0.5, groups: 12}
training: {unet_widths: [8, 16], epochs: 1, batch_size: 16, threads: 1, device: cpu, refiner: null}
iterative: {solvers: {gradient: {method: gradient, epochs: 5}}}
resources: {time: "00:10:00", gpus_per_node: 1, cpus_per_task: 2, mem: 2G}
sweep:
  axes:
    learning_rate: {training.learning_rate: [1e-3, 3e-3]}
    object: {base.npz: [disc.npz, noise.npz]}
  exclude:
    - {learning_rate: 3e-3, view: sparse}
"""


def write_swept_study(folder: Path) -> Path:
    """The study's YAML, which is returned, beside `disc.npz` and `noise.npz`, objects of 160 pixels with a probe of 32."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-16:16, -16:16]
    probe = np.exp(-((np.hypot(y, x) / 6) ** 2) + 0.05j * (y**2 + x**2)).astype(np.complex64)
    place = np.hypot(*np.mgrid[-80:80, -80:80])
    for name, phase in (("disc", 0.5 * (place < 40)), ("noise", rng.normal(0, 0.2, place.shape))):
        np.savez(folder / f"{name}.npz", objectGuess=np.exp(1j * phase).astype(np.complex64), probeGuess=probe)
    file = folder / f"{NAME}.yaml"
    file.write_text(YAML)
    return file
