"""A network that was exported answers as it did, to the bit, in a Python that does not have this package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_reconstruction import small_source
from tiny_jobs import N, tiny_job

from ptycho_torch.bundle import bundle_facts, load_model, write_bundle
from ptycho_torch.errors import CheckpointError, ConfigError
from ptycho_torch.exporting.formats import export_reconstruction
from ptycho_torch.model import seeded_model
from ptycho_torch.npz_archive import AnyArray, write_arrays
from ptycho_torch.physics import Illumination

RUNNER = """
import importlib.util, json, sys
import numpy as np, torch
assert not [name for name in ("ptycho_torch", "fly64_hpc") if importlib.util.find_spec(name)], sys.path
facts = {"facts.json": ""}
program = torch.export.load(sys.argv[1], extra_files=facts).module()
arrays = np.load(sys.argv[2])
with torch.no_grad():
    np.save(sys.argv[3], program(*(torch.from_numpy(arrays[key]) for key in ("counts", "probes", "centers"))).numpy())
print(json.loads(facts["facts.json"])["job_id"], "ptycho_torch" in sys.modules)
"""


def write_network(folder: Path, *, gridsize: int = 1, **training: object) -> None:
    """The bundle of a network with a head large enough to answer something."""
    job = tiny_job(gridsize=gridsize, head_gain=1.0, **training)
    write_bundle(folder, seeded_model(job).state_dict(), bundle_facts(job))


def elsewhere(folder: Path) -> Path:
    """A folder of links to all that is installed, but for this package."""
    place = folder / "site"
    place.mkdir()
    for entry in Path(np.__file__).parents[1].iterdir():
        if entry.name != "__pycache__" and entry.suffix != ".pth" and "fly64" not in entry.name:
            (place / entry.name).symlink_to(entry)
    return place


def answer_without_us(program: Path, folder: Path, inputs: dict[str, torch.Tensor]) -> tuple[AnyArray, str]:
    """What the program makes of arrays in a process that cannot import this package, and what that process printed."""
    write_arrays(folder / "inputs.npz", {key: tensor.numpy() for key, tensor in inputs.items()})
    command = [sys.executable, "-S", "-c", RUNNER, str(program), str(folder / "inputs.npz"), str(folder / "patches.npy")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(elsewhere(folder)), "OMP_NUM_THREADS": "1"}
    made = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return np.load(folder / "patches.npy"), made.stdout


def some_groups(n_groups: int, n_members: int, spread_px: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(n_groups)
    shape = (n_groups, n_members, N, N)
    return {
        "counts": torch.poisson(torch.full(shape, 3.0), generator),
        "probes": torch.complex(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)),
        "centers": torch.randint(N, N + spread_px, (n_groups, n_members, 2), generator=generator),
    }


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program and its bundle: a network that has a refiner, and whose patches of a group are made to agree on a canvas."""
    folder = tmp_path_factory.mktemp("traced")
    write_network(folder, gridsize=2, architecture="ptychopinn", n_filters_scale=1, refiner={"unet_widths": (4, 8)})
    (file,) = export_reconstruction(small_source(folder), ["program"], folder).files
    assert file.path == folder / "small.pt2", "one network, whatever object is exported with it"
    return file.path


def same_answers(program_file: Path, n_members: int) -> None:
    """Any number of groups, however far apart their patterns."""
    program, model = torch.export.load(program_file).module(), load_model(program_file.parent, auto="float32")[0].eval()
    for n_groups, spread_px in ((1, 1), (1, 17), (5, 40)):
        counts, probes, centers = some_groups(n_groups, n_members, spread_px).values()
        with torch.no_grad():
            expected = model(counts, Illumination.of(probes), centers)
            torch.testing.assert_close(program(counts, probes, centers), expected, rtol=0, atol=0)


def test_a_program_runs_without_this_package(traced: Path, tmp_path: Path) -> None:
    inputs = some_groups(3, 4, spread_px=20)
    patches, printed = answer_without_us(traced, tmp_path, inputs)
    model = load_model(traced.parent, auto="float32")[0].eval()
    with torch.no_grad():
        expected = model(inputs["counts"], Illumination.of(inputs["probes"]), inputs["centers"]).numpy()
    np.testing.assert_array_equal(patches, expected)
    assert np.ptp(np.angle(expected)) > 0.01, "it answers something"
    assert printed == "tiny False\n"


def test_it_takes_any_number_of_groups_however_far_apart(traced: Path) -> None:
    same_answers(traced, 4)


@pytest.mark.long
@pytest.mark.parametrize(
    ("gridsize", "training"), [(1, {}), (2, {}), (2, {"fuse_groups": False}), (2, {"precision": "bfloat16"})]
)
def test_a_back_projection_unet_is_a_program_too(tmp_path: Path, gridsize: int, training: dict[str, object]) -> None:
    write_network(tmp_path, gridsize=gridsize, **training)
    (file,) = export_reconstruction(small_source(tmp_path), ["program"], tmp_path).files
    same_answers(file.path, gridsize**2)


def test_it_computes_nothing_that_no_answer_depends_on(traced: Path) -> None:
    steps = [node for node in torch.export.load(traced).graph.nodes if node.op == "call_function" and not node.is_impure()]
    assert steps
    assert all(node.users for node in steps)


def test_the_refiner_stays_behind_and_the_facts_come_along(traced: Path) -> None:
    found = {"facts.json": ""}
    names = torch.export.load(traced, extra_files=found).state_dict
    assert names
    assert not [name for name in names if "refiner" in name]
    assert json.loads(found["facts.json"]) == json.loads((traced.parent / "model.json").read_text())


WEIGHTS_RUNNER = """
import importlib.util, json, sys
from safetensors import safe_open
from safetensors.numpy import load_file
assert not [name for name in ("ptycho_torch", "fly64_hpc") if importlib.util.find_spec(name)], sys.path
with safe_open(sys.argv[1], framework="numpy") as file:
    facts = json.loads(file.metadata()["facts.json"])
print(json.dumps({"facts": facts, "sums": {name: float(abs(array).sum()) for name, array in load_file(sys.argv[1]).items()}}))
"""


def test_weights_are_the_bundle_s_with_its_facts_and_read_without_this_package(traced: Path, tmp_path: Path) -> None:
    (file,) = export_reconstruction(small_source(traced.parent), ["weights"], traced.parent).files
    assert file.path == traced.parent / "small.safetensors", "one network, whatever object is exported with it"
    exported, own = load_file(file.path), load_file(traced.parent / "model.safetensors")
    assert exported.keys() == own.keys()
    assert all(torch.equal(exported[name], own[name]) for name in own)
    assert [name for name in own if name.startswith("refiner")], "the refiner's too"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(elsewhere(tmp_path))}
    command = [sys.executable, "-S", "-c", WEIGHTS_RUNNER, str(file.path)]
    said = json.loads(subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout)
    assert said["facts"] == json.loads((traced.parent / "model.json").read_text())
    assert said["sums"].keys() == own.keys()
    first = file.path.read_bytes()
    export_reconstruction(small_source(traced.parent), ["weights"], traced.parent)
    assert file.path.read_bytes() == first


def test_a_network_of_whole_scans_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_network(tmp_path, architecture="canvas_unet")
    with pytest.raises(ConfigError, match="small: canvas_unet looks at a whole scan at once; a program takes groups"):
        export_reconstruction(small_source(tmp_path), ["npz", "program"], tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_weights_of_a_network_of_whole_scans_go_out_too(tmp_path: Path) -> None:
    write_network(tmp_path, architecture="canvas_unet")
    (file,) = export_reconstruction(small_source(tmp_path), ["weights"], tmp_path / "target").files
    assert load_file(file.path).keys() == load_file(tmp_path / "model.safetensors").keys()


@pytest.mark.parametrize("name", ["program", "weights"])
def test_where_there_is_no_network_there_is_nothing_of_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json is missing: .* holds no bundle"):
        export_reconstruction(small_source(tmp_path), [name], tmp_path / "target")
