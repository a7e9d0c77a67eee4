"""Laws of the bundle: same weights, same bytes; read back, same prediction; damage is refused."""

import json
from pathlib import Path

import pytest
import torch
from tiny_jobs import tiny_job, tiny_scan

from ptycho_torch.bundle import bundle_facts, load_model, read_bundle, write_bundle
from ptycho_torch.errors import CheckpointError
from ptycho_torch.model import seeded_model


def _write(folder: Path) -> Path:
    job = tiny_job()
    return write_bundle(folder, seeded_model(job).state_dict(), bundle_facts(job)).path


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.json"):
        _write(tmp_path / "a")
        _write(tmp_path / "b")
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("architecture", ["backprojection_unet", "ptychopinn"])
def test_a_bundle_predicts_what_its_network_did(tmp_path: Path, architecture: str) -> None:
    job, scan = tiny_job(architecture=architecture), tiny_scan(4)
    model = seeded_model(job)
    write_bundle(tmp_path, model.state_dict(), bundle_facts(job))
    rows = torch.arange(4)[:, None]
    inputs = scan.counts[rows], scan.illumination_of(rows), scan.centers[rows]
    assert torch.equal(load_model(tmp_path)[0](*inputs), model(*inputs))


def test_the_record_is_that_of_the_file(tmp_path: Path) -> None:
    job = tiny_job()
    record = write_bundle(tmp_path, seeded_model(job).state_dict(), bundle_facts(job))
    assert record.size_bytes == len(record.path.read_bytes())
    assert read_bundle(tmp_path)[1]["weights_sha256"] == record.sha256


def test_facts_say_nothing_of_how_the_job_ran() -> None:
    first, second = (bundle_facts(tiny_job(threads=threads, device=device)) for threads, device in ((1, "cpu"), (8, "auto")))
    assert first == second


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: its sha256"):
        read_bundle(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    _write(tmp_path).unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_model(tmp_path)


def test_a_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json is missing: .* holds no bundle"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("text", ["{", json.dumps({"training": {}})])
def test_facts_without_a_digest_are_refused(tmp_path: Path, text: str) -> None:
    _write(tmp_path)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"is no bundle's record"):
        read_bundle(tmp_path)
