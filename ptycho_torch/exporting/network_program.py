"""A trained network as a program that PyTorch alone runs, without this package: `torch.export.load(file).module()`.

    patches = program(counts, probes, centers_yx)      as `PtychoModel.forward`, but for the probes alone; any number of groups

The network as it is trained, without its refiner, which looks at a whole scan; in float32 unless the training's precision is
`bfloat16` by name. Beside the program the file holds `facts.json`,
the record of the bundle, with the conventions in words.
"""

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ptycho_torch.atomic_files import replacing
from ptycho_torch.bundle import load_model
from ptycho_torch.errors import ConfigError
from ptycho_torch.exporting.content import ExportContent
from ptycho_torch.model import PtychoModel
from ptycho_torch.physics import Illumination

FACTS_NAME = "facts.json"
EXAMPLE_GROUPS = 2
"""One would be taken for the number of groups that there always is."""


def require_patch_network(content: ExportContent) -> None:
    """Refuse a reconstruction without a bundle beside it, or with a network that looks at a whole scan.

    Raises
    ------
    CheckpointError
        There is no bundle, or it is damaged.
    ConfigError
        The network takes no groups of patterns.
    """
    model, facts = load_model(content.folder)
    if model.canvas_network is not None:
        raise ConfigError(
            f"{content.name}: {facts['training']['architecture']} looks at a whole scan at once; a program takes groups.",
            hint="Leave out --format program, or choose a job of another architecture.",
        )


def write_program(content: ExportContent, path: Path) -> None:
    """Write the program, on the CPU; `torch.export.passes.move_to_device_pass` moves it to a GPU.

    Raises
    ------
    ConfigError
        This PyTorch cannot trace the network.
    """
    model, facts = load_model(content.folder, auto="float32")  # a program is for machines that nobody knows yet
    stream = io.BytesIO()
    program = _traced(_Program(model.network), facts)
    torch.export.save(program, stream, extra_files={FACTS_NAME: json.dumps(facts, indent=2)})
    with replacing(path) as file:
        file.write(stream.getbuffer())


class _Program(nn.Module):
    """A patch network that takes plain tensors."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model = PtychoModel(network)

    def forward(self, counts: Tensor, probes: Tensor, centers_yx: Tensor) -> Tensor:
        """Object patches (B, C, N, N) of counts, probes (B, C, N, N) and centres (B, C, 2)."""
        patches: Tensor = self.model(counts, Illumination.of(probes), centers_yx)
        return patches


def _traced(model: nn.Module, facts: dict[str, Any]) -> Any:
    side, members = facts["patch_size_px"], facts["gridsize"] ** 2
    shape = (EXAMPLE_GROUPS, members, side, side)
    probes = torch.full(shape, 1.0 + 0.5j, dtype=torch.complex64)
    centers = side + torch.arange(2 * EXAMPLE_GROUPS * members).reshape(EXAMPLE_GROUPS, members, 2)
    groups = {0: torch.export.Dim("groups", min=1)}
    shapes = {"counts": groups, "probes": groups, "centers_yx": groups}
    try:
        program = torch.export.export(model.eval(), (torch.ones(shape), probes, centers), dynamic_shapes=shapes, strict=False)
    except RuntimeError as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(
            f"PyTorch {torch.__version__} cannot make a program of this network: {first}.",
            hint="Use a newer PyTorch (2.13 is known to do it), or leave out --format program.",
        ) from error
    program.graph.eliminate_dead_code()  # far fields that no answer depends on, of `ptychopinn`
    return program
