"""Imports go down only, and the launcher enters the science by three doors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptycho_torch import config

DOORS = {"config", "npz_contract", "pipeline"}
TORCH_FREE = ("config", "npz_contract")

FLOORS = {
    "fly64_hpc": [
        [
            "__main__",
            "submit",
            "check",
            "prepare",
            "collect",
            "status",
            "retry",
            "cancel",
            "verify",
            "logs",
            "ingest",
            "evaluate",
            "reconstruct",
            "compare",
            "report",
            "export",
        ],
        ["report_page.page", "glance.table", "glance.plain", "glance.machine"],
        ["glance.lines"],
        ["glance.words"],
        ["glance.facts"],
        [
            "report_page.summary",
            "report_page.failures",
            "report_page.conditions",
            "report_page.reconstructions",
            "report_page.curves",
            "report_page.compared",
            "report_page.costs",
            "report_page.provenance",
            "report_page.files",
        ],
        ["report_page.facts", "report_page.tables", "report_page.charts", "report_page.pictures"],
        ["report_page.markup", "report_page.words"],
        ["preflight.examination", "preflight.findings_page"],
        ["preflight.cluster_fit", "preflight.forecast", "preflight.study_sizes", "preflight.dataset_files"],
        ["preflight.disk_room", "preflight.python_environment", "preflight.writing", "preflight.node_sight"],
        [
            "preflight.start_estimate",
            "preflight.partition_rules",
            "preflight.node_hardware",
            "preflight.array_limits",
            "preflight.earlier_runs",
        ],
        ["preflight.study_volume", "preflight.quota"],
        ["preflight.request", "preflight.file_systems", "preflight.finding", "executor_choice"],
        ["study_schema", "local_supervisor", "slurm_task"],
        ["collector_job"],
        ["glance.forecast"],
        ["gpu_hours"],
        ["command_line", "watching", "plan", "retrying", "cancelling", "comparison_figure", "mending"],
        ["comparison_table"],
        ["comparison", "best_job"],
        ["handing_over", "collector", "verification"],
        ["job_on_disk"],
        ["known_jobs"],
        ["attempt_costs"],
        [
            "executor_facts",
            "manifest",
            "checkpoint_index",
            "evaluation_record",
            "dataset_job",
            "retry_policy",
            "local_ending",
            "job_log",
            "executors.slurm",
            "executors.local",
            "executors.debug",
        ],
        ["datasets", "outcome", "slurm.scripts"],
        ["train_task"],
        ["submissions"],
        ["study_growth", "cancellations"],
        ["attempts", "study_directory", "stop_signals", "history", "heartbeat"],
        ["job_record"],
        ["provenance"],
        ["frozen_code"],
        ["job_paths", "file_digests", "process_identity"],
        ["slurm.facts", "slurm.task_logs", "slurm.configuration", "slurm.start"],
        [
            "job_state",
            "slurm.states",
            "slurm.arrays",
            "slurm.pending_reasons",
            "slurm.sbatch",
            "slurm.refusals",
            "slurm.cluster_facts",
        ],
        ["slurm.calls", "slurm.times"],
        ["job_choice", "study_loading"],
        ["sweep_check", "resolved_study"],
        ["job_matrix"],
        ["variants", "axes"],
        ["study", "study_errors"],
        ["study_yaml", "resources", "sweep"],
        ["errors", "file_lock", "plain_values"],
    ],
    "ptycho_torch": [
        ["pipeline"],
        ["reconstruction_jobs", "new_scan", "exporting.formats"],
        ["exporting.network_weights"],
        [
            "network_evaluation",
            "solvers",
            "exporting.ptychodus_product",
            "exporting.cxi",
            "exporting.imagej_tiff",
            "exporting.plain_npz",
            "exporting.phase_picture",
            "exporting.network_program",
        ],
        ["yardstick", "scan_result", "exporting.content"],
        ["ptychi_solver", "training_metrics"],
        ["reconstruction"],
        ["adaptation", "trainer", "measured_scan", "scan_picture"],
        ["learning", "oriented_scan", "found_probe"],
        ["lessons", "position_trials", "joint_descent"],
        ["network_object"],
        ["canvas_sight"],
        ["data_consistency", "bundle"],
        ["held_out", "model", "training_log", "tensorboard_events"],
        ["dataset", "evaluation", "losses", "photon_dealing", "checkpoints", "simulation", "overlap_views"],
        ["foreign_scans.recognition", "foreign_scans.probe_window", "foreign_scans.merged_geometry"],
        ["foreign_scans.named_scan", "foreign_scans.ptychodus_hdf5", "foreign_scans.detector_window"],
        [
            "foreign_scans.tike_npz",
            "foreign_scans.ptychopinn_npz",
            "foreign_scans.cxi",
            "foreign_scans.ptypy_ptyd",
            "foreign_scans.named_arrays",
            "foreign_scans.pattern_survey",
            "foreign_scans.paired_positions",
        ],
        ["foreign_scans.checked_arrays"],
        ["foreign_scans.foreign_scan", "foreign_scans.npz_reading", "foreign_scans.ingest_options"],
        ["foreign_scans.pattern_sources"],
        ["foreign_scans.hdf5_reading"],
        ["reassembly", "backprojection_unet", "canvas_unet", "ptychopinn_cnn"],
        [
            "physics",
            "similarity",
            "back_projection",
            "network_parts",
            "precision",
            "unet",
            "symmetries",
            "overlap_metrics",
            "dense_neighbourhood",
            "position_axes",
            "position_contest",
            "grouping",
            "legacy_bridge",
            "devices",
            "scan_positions",
        ],
        ["base_object", "objects", "probes", "params", "data_record"],
        ["npz_contract"],
        ["reconstruction_file", "exporting.whole_geometry"],
        ["npz_archive", "config", "fourier_ring"],
        ["alignment", "probe_gauge", "probe_starts", "training_config", "scan_geometry", "exporting.hdf5_bytes"],
        ["strict_model"],
        ["atomic_files", "adamw", "errors"],
    ],
}


def modules(package: str) -> dict[str, Path]:
    files = Path(package).rglob("*.py")
    return {".".join(file.relative_to(package).with_suffix("").parts): file for file in files if file.name != "__init__.py"}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def own_imports(package: str) -> Iterator[tuple[str, str]]:
    known = modules(package)
    for module, file in known.items():
        for name in imports(file):
            target = name.removeprefix(f"{package}.")
            if name.startswith(f"{package}.") and target in known:
                yield module, target


@pytest.mark.parametrize("package", FLOORS)
def test_every_module_has_a_floor(package: str) -> None:
    assert sorted(name for floor in FLOORS[package] for name in floor) == sorted(modules(package))


@pytest.mark.parametrize("package", FLOORS)
def test_imports_go_down_and_never_round(package: str) -> None:
    floor = {name: number for number, names in enumerate(FLOORS[package]) for name in names}
    assert [f"{a} -> {b}" for a, b in own_imports(package) if floor[a] > floor[b]] == []
    beside = {(a, b) for a, b in own_imports(package) if floor[a] == floor[b]}
    assert [pair for pair in beside if pair[::-1] in beside] == []


def test_the_science_knows_nothing_of_the_launcher_or_of_slurm() -> None:
    for file in modules("ptycho_torch").values():
        assert not [name for name in imports(file) if name.split(".")[0] in ("fly64_hpc", "submitit")], file


def test_the_launcher_enters_by_three_doors() -> None:
    for file in modules("fly64_hpc").values():
        entered = {name.split(".")[1] for name in imports(file) if name.startswith("ptycho_torch.")}
        assert entered <= DOORS, file


def test_two_doors_and_the_launcher_import_no_torch_at_their_top() -> None:
    for file in [Path("ptycho_torch") / f"{name}.py" for name in TORCH_FREE] + list(modules("fly64_hpc").values()):
        top = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {name.name for node in top for name in node.names} | {
            node.module for node in top if isinstance(node, ast.ImportFrom)
        }
        assert not names & {"torch", "pipeline", "ptycho_torch.pipeline"}, file


@pytest.mark.parametrize("package", FLOORS)
def test_modules_and_functions_stay_small(package: str) -> None:
    for file in modules(package).values():
        text = file.read_text()
        assert len(text.splitlines()) <= 400, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = [part for part in node.body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))]
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert length <= 60, f"{file}:{node.lineno} {node.name}"


def test_the_door_that_needs_no_numpy_offers_the_file_writers() -> None:
    assert {"replacing", "sha256_file", "sha256_json", "write_json", "write_text"} <= set(config.__all__)
