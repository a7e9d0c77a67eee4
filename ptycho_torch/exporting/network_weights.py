"""A trained network's weights as one safetensors file, which any program that knows the format reads.

The tensors are those of the bundle, bit by bit, the refiner's with them. The file's metadata holds `facts.json`, the record of
the bundle: how to build the network, how to feed it, and which weights they were.
"""

import json
from pathlib import Path

import safetensors.torch

from ptycho_torch.atomic_files import replacing
from ptycho_torch.bundle import read_bundle
from ptycho_torch.exporting.content import ExportContent
from ptycho_torch.exporting.network_program import FACTS_NAME


def require_bundle(content: ExportContent) -> None:
    """Refuse a reconstruction without a whole bundle beside it.

    Raises
    ------
    CheckpointError
        There is no bundle, or it is damaged.
    """
    read_bundle(content.folder)


def write_weights(content: ExportContent, path: Path) -> None:
    """Write the weights; the same bundle gives the same bytes, for there is but one key of metadata."""
    weights, facts = read_bundle(content.folder)
    with replacing(path) as file:
        file.write(safetensors.torch.save(dict(weights), metadata={FACTS_NAME: json.dumps(facts, indent=2)}))
