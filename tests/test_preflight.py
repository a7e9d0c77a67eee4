"""The preflight, subject by subject: what Slurm, the kernel and programs of a site say, and the finding that it makes."""

import datetime
import os
from pathlib import Path, PurePosixPath
from unittest.mock import patch

import pytest
from command import SMOKE
from hypothesis import given
from hypothesis import strategies as st
from scripted_slurm import ScriptedSlurm
from tiny_study import TinyStudy, tiny_study

from fly64_hpc.job_record import SchedulerIds, now_utc
from fly64_hpc.preflight import (
    array_limits,
    cluster_fit,
    dataset_files,
    disk_room,
    forecast,
    node_hardware,
    node_sight,
    partition_rules,
    python_environment,
    quota,
    start_estimate,
    study_sizes,
    writing,
)
from fly64_hpc.preflight.examination import refuse_errors
from fly64_hpc.preflight.file_systems import Sight, file_system_of, parse_mounts, sight_of
from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.findings_page import lines, summary_line
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.preflight.study_volume import volume
from fly64_hpc.resources import Resources
from fly64_hpc.slurm.calls import Answer
from fly64_hpc.slurm.cluster_facts import ClusterFacts, ask_cluster, parse_gpus, parse_nodes, parse_partitions
from fly64_hpc.slurm.refusals import advice_for
from fly64_hpc.slurm.sbatch import Verdict
from fly64_hpc.slurm.start import read_estimate
from fly64_hpc.study_loading import load_study, parse_set

SINFO = """\
Welcome to the cluster.
gpu|g1|10.0.0.1|g1|64|512000|gpu:a100:4(S:0-1),nvme:1|a100,nvlink|mixed
gpu|g2|10.0.0.2|g2|64|1000000|gpu:a100:4(S:0-1)|a100|drained*
cpu|c1|10.0.0.3|c1|128|256000|(null)|(null)|idle
old|v1|10.0.0.4|v1|16|64000|gpu:2|(null)|down*
"""
SCONTROL = (
    "PartitionName=gpu AllowGroups=ALL AllowAccounts=physics,bio AllowQos=ALL Default=NO QoS=N/A MaxTime=1-00:00:00 State=UP \n"
    "PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL DenyQos=long Default=YES QoS=N/A MaxTime=UNLIMITED State=UP \n"
    "PartitionName=old AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO QoS=N/A MaxTime=UNLIMITED State=UP \n"
    "PartitionName=shut AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO MaxTime=UNLIMITED State=INACTIVE \n"
    "PartitionName=dim AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO MaxTime=UNLIMITED State=DOWN \n"
)
CONFIG = "Configuration data as of today\nMaxArraySize            = 4\nMaxJobCount             = 8\n"
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
filer:/home /home nfs4 rw 0 0
10.0.0.9@tcp:/fs /scratch lustre rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/sdb1 /home/with\\040blank xfs rw 0 0
host:/x /remote fuse.sshfs rw 0 0
"""
SYSTEMS = parse_mounts(MOUNTS)
CLUSTER = ClusterFacts(
    nodes=tuple(parse_nodes(SINFO)), partitions={partition.name: partition for partition in parse_partitions(SCONTROL)}
)


@pytest.fixture
def study(tmp_path: Path) -> TinyStudy:
    return tiny_study(tmp_path / "outputs" / "fly64_smoke")


def slurm_of(*sbatch: Answer) -> ScriptedSlurm:
    """A Slurm that says the above, and to each --test-only the next of some answers."""
    answers = iter(sbatch)
    show = {"partition": SCONTROL, "config": CONFIG}
    return ScriptedSlurm(
        answers={
            "sinfo": SINFO,
            "scontrol": lambda command: Answer(0, show[command[-1]], ""),
            "sbatch": lambda _: next(answers),
        }
    )


def request_of(study: TinyStudy, slurm: ScriptedSlurm | None = None, *settings: str) -> PreflightRequest:
    loaded = load_study(SMOKE, [parse_set(text) for text in settings])
    return PreflightRequest(study.paths, loaded, study.jobs, {}, "slurm", slurm or slurm_of())


def worst(findings: list[Finding]) -> Finding:
    return min(findings, key=lambda finding: list(Severity).index(finding.severity))


# What Slurm says


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("gpu:4", {"": 4}),
        ("gpu", {"": 1}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:2,gpu:v100:1,nvme:8", {"a100": 2, "v100": 1}),
        ("gpu:a100_1g.5gb:7(IDX:0-6)", {"a100_1g.5gb": 7}),
        ("mps:100,gpu:h100:8", {"h100": 8}),
        ("gpufs:3", {}),
    ],
)
def test_gres_is_read_as_kinds_and_numbers(gres: str, gpus: dict[str, int]) -> None:
    assert parse_gpus(gres) == gpus


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True), st.integers(1, 99), max_size=4))
def test_gres_that_is_written_is_read_again(gpus: dict[str, int]) -> None:
    assert parse_gpus(",".join(f"gpu:{kind}:{count}(S:0)" for kind, count in gpus.items())) == gpus


def test_nodes_and_partitions_as_sinfo_and_scontrol_print_them() -> None:
    g1, g2, c1, v1 = CLUSTER.nodes
    assert (g1.cpus, g1.memory_mib, g1.gpus_of("a100"), g1.gpus_of("")) == (64, 512000, 4, 4)
    assert [node.is_at_work for node in (g1, g2, c1, v1)] == [True, False, True, False]
    assert (g1.features, c1.features) == (frozenset({"a100", "nvlink"}), frozenset())
    assert CLUSTER.partitions is not None
    assert CLUSTER.partitions["gpu"].max_time_min == 1440
    assert CLUSTER.partitions["gpu"].rules == {"AllowAccounts": {"physics", "bio"}}
    assert CLUSTER.default_partition() == "cpu"


def test_a_slurm_without_an_answer_is_asked_once() -> None:
    slurm = ScriptedSlurm(answers={"sinfo": None})
    cluster = ask_cluster(slurm)
    assert (cluster.nodes, dict(slurm.counts)) == ((), {"sinfo": 1})
    assert "Unable to contact slurm controller" in cluster.problems[0]


@pytest.mark.parametrize(
    ("fields", "severity", "words"),
    [
        (
            {"partition": "moon"},
            "error",
            "There is no partition moon; this Slurm has gpu, cpu, old, shut, dim. Name one with --part",
        ),
        ({"partition": "shut"}, "error", "Partition shut is INACTIVE: it takes no new jobs."),
        ({"partition": "dim"}, "warning", "Partition dim is DOWN: jobs would wait until it is up."),
        ({"partition": "old"}, "warning", "No node of partition old is at work now (down*): jobs would wait."),
        ({"partition": "gpu", "account": "art"}, "error", "takes no jobs of account art; allowed are bio, physics."),
        ({"partition": "cpu", "qos": "long"}, "error", "takes no jobs of qos long; denied are long."),
        (
            {"partition": "gpu", "time": "2-00:00:00"},
            "error",
            "longer than partition gpu allows: 1-00:00:00. Ask for at most --time 1-",
        ),
        ({"partition": "gpu", "time": "2d", "qos": "long"}, "warning", "The time limit 2d is longer than partition gpu allows"),
        ({"partition": "gpu", "account": "bio"}, "ok", "Partition gpu is up and takes jobs of 04:00:00."),
        ({}, "ok", "Partition cpu is up"),
    ],
)
def test_the_rules_of_a_partition(fields: dict[str, str], severity: str, words: str) -> None:
    finding = worst(list(partition_rules.examine(Resources(**fields), CLUSTER)))
    assert finding.severity == severity
    assert words in finding.text


@pytest.mark.parametrize(
    ("partition", "fields", "words"),
    [
        ("cpu", {}, "No node of partition cpu has a GPU, and a job asks for 1. Name a partition with GPUs"),
        ("gpu", {"gpu_type": "h100"}, "No node of partition gpu has a GPU of kind h100; a node has 4 a100."),
        ("gpu", {"gres": "gpu:a100:8"}, "A job asks for 8 GPUs, and a node of partition gpu has at most 4."),
        ("gpu", {"cpus_per_task": 65}, "A job asks for 65 cores, and the largest node of partition gpu has 64."),
        ("gpu", {"mem": "2T"}, "MiB of memory, and the largest node of partition gpu has 1e+06. Lower --mem."),
        ("gpu", {"constraint": "a100&hbm80g"}, "has the feature hbm80g of the constraint; there are a100, nvlink."),
        ("gpu", {"constraint": "[rack1|rack2]"}, "has the feature rack1, rack2 of the constraint"),
        (
            "gpu",
            {"constraint": "nvlink", "mem": "900000M"},
            "No single node of partition gpu has all that a job asks for: 1 GPU, 4",
        ),
    ],
)
def test_hardware_that_no_node_has(partition: str, fields: dict[str, object], words: str) -> None:
    findings = list(node_hardware.examine(Resources.model_validate(fields), partition, CLUSTER.nodes_of(partition)))
    assert [finding.severity for finding in findings] == [Severity.ERROR]
    assert words in findings[0].text


def test_hardware_that_some_nodes_have() -> None:
    resources = Resources(gres="gpu:a100:2", constraint="a100|h100", mem="600G")
    (finding,) = node_hardware.examine(resources, "gpu", CLUSTER.nodes_of("gpu"))
    assert finding == Finding(
        "nodes", Severity.OK,
        "1 of 2 nodes of partition gpu have what a job asks for: 2 a100 GPUs, 4 cores, 600G of memory, feature a100|h100.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "verdict", "severity", "words"),
    [
        (
            Answer(0, "", "sbatch: Job 123 to start at 2026-11-29T14:30:00 using 4 processors on nodes n[1-4] in partition gpu"),
            Verdict.TAKEN, "ok", "Slurm would start a training about 14:30 tomorrow on n[1-4].",
        ),
        (
            Answer(0, "", "sbatch: Job 9 to start at 2026-11-28T20:00:10 using 4 processors on g3 in partition gpu\n"),
            Verdict.TAKEN, "ok", "Slurm would start a training now on g3.",
        ),
        (
            Answer(1, "", "allocation failure: Invalid account or account/partition combination specified\n"),
            Verdict.REFUSED, "error", "Slurm refuses a training: allocation failure: Invalid account or account/partition "
            "combination specified. Name another --account, or ask the centre whether your allocation has ended",
        ),
        (Answer(1, "", "allocation failure: Requested nodes are busy"), Verdict.NO_ROOM, "warning", "Requested nodes are busy"),
        (Answer(1, "", "sbatch: error: QOSMaxSubmitJobPerUserLimit"), Verdict.NO_ROOM, "warning", "no room for a training now"),
        (Answer(None, "", "sbatch did not answer within 20 s"), Verdict.LEFT_OPEN, "unknown", "did not answer within 20 s"),
        (Answer(1, "", "sbatch: unrecognized option '--test-only'"), Verdict.LEFT_OPEN, "unknown", "unrecognized option"),
        (Answer(1, "", "allocation failure: Unable to contact slurm controller"), Verdict.LEFT_OPEN, "unknown", "Unable to"),
        (Answer(0, "", ""), Verdict.LEFT_OPEN, "unknown", "named no start"),
    ],
)  # fmt: skip
def test_what_test_only_answers(answer: Answer, verdict: Verdict, severity: str, words: str) -> None:
    estimate = read_estimate(answer)
    finding = start_estimate.finding("train", estimate, datetime.datetime(2026, 11, 28, 20))
    assert (estimate.verdict, finding.severity) == (verdict, severity)
    assert words in finding.text


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("Invalid qos specification", "--qos"),
        ("Invalid partition name specified", "--partition"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "--time"),
        ("Requested node configuration is not available", "--gpus-per-node"),
        ("Invalid generic resource (gres) specification", "resources.gres"),
        ("Something else", "Change the resources"),
    ],
)
def test_each_refusal_has_its_advice(words: str, advice: str) -> None:
    assert advice in advice_for(f"sbatch: error: Batch job submission failed: {words}")


def test_slurm_is_asked_five_times_at_most_and_not_for_a_start_where_no_job_fits(study: TinyStudy) -> None:
    starts = Answer(0, "", "sbatch: Job 1 to start at 2026-11-28T20:00:00 using 2 processors on nodes g1 in partition gpu")
    slurm = slurm_of(starts, starts)
    found = list(cluster_fit.examine(request_of(study, slurm, "resources.partition=gpu", "resources.account=bio")))
    assert dict(slurm.counts) == {"sinfo": 1, "scontrol": 2, "sbatch": 2}
    assert "9 jobs go as 3 arrays, as MaxArraySize is 4; at most 9 run at a time." in [finding.sentence for finding in found]
    assert "9 jobs are more than this Slurm's queue holds (MaxJobCount is 8)." in [finding.sentence for finding in found]
    impossible = slurm_of()
    list(cluster_fit.examine(request_of(study, impossible, "resources.partition=cpu")))
    assert "sbatch" not in impossible.counts


def test_after_one_question_without_an_answer_no_other_is_asked(study: TinyStudy) -> None:
    slurm = slurm_of(Answer(None, "", "sbatch did not answer within 20 s"))
    found = list(cluster_fit.examine(request_of(study, slurm, "resources.partition=gpu", "resources.account=bio")))
    assert slurm.counts["sbatch"] == 1
    assert [finding.severity for finding in found if finding.subject == start_estimate.SUBJECT] == [Severity.UNKNOWN]


def test_one_array_needs_no_word_on_its_size() -> None:
    assert list(array_limits.examine([], 4, ClusterFacts())) == []


# Storage


@pytest.mark.parametrize(
    ("path", "kind", "sight"),
    [
        ("/home/alice/study", "nfs4", Sight.SHARED),
        ("/scratch/alice", "lustre", Sight.SHARED),
        ("/homework", "ext4", Sight.PERHAPS),
        ("/tmp/study", "ext4", Sight.THIS_MACHINE),
        ("/tmpfoo", "ext4", Sight.PERHAPS),
        ("/dev/shm/x", "tmpfs", Sight.THIS_MACHINE),
        ("/home/with blank/x", "xfs", Sight.PERHAPS),
        ("/remote/x", "fuse.sshfs", Sight.UNKNOWN),
    ],
)
def test_which_file_systems_other_machines_see(path: str, kind: str, sight: Sight) -> None:
    system = file_system_of(PurePosixPath(path), SYSTEMS)
    assert (system.kind, sight_of(PurePosixPath(path), system)) == (kind, sight)


def test_a_mount_over_another_hides_it() -> None:
    assert file_system_of(PurePosixPath("/home/x"), parse_mounts(f"{MOUNTS}tmpfs /home tmpfs rw 0 0\n")).kind == "tmpfs"
    assert file_system_of(PurePosixPath("/x"), ()).kind == "unknown"


def test_a_study_on_a_local_disk_is_an_error_with_what_to_do() -> None:
    places = {"The study directory": Path("/tmp/study"), "Python": Path("/usr/bin/python"), "The program": Path("/home/a/f")}
    local, python, seen = node_sight.judge(places, SYSTEMS, "login1")
    assert local.severity is Severity.ERROR
    assert local.text == (
        "The study directory, /tmp/study, lies on ext4 (/), which belongs to login1 alone: the nodes cannot see it. "
        "Use an --output-root on a file system that every node mounts (your home or project folder)."
    )
    assert python.severity is Severity.WARNING
    assert "the nodes see it only if it is exported to them" in python.sentence
    assert (seen.severity, seen.sentence) == (Severity.OK, "On a network file system: the program (nfs4).")


def test_a_cluster_that_is_this_machine_alone_sees_all() -> None:
    one = list(parse_nodes("gpu|n1|127.0.0.1|n1|4|8000|gpu:2|(null)|idle\ncpu|n2|localhost|n2|4|8000|(null)|(null)|idle\n"))
    assert node_sight.is_this_machine_alone(one, node_sight.own_names())
    assert not node_sight.is_this_machine_alone([*one, *CLUSTER.nodes], node_sight.own_names())
    assert not node_sight.is_this_machine_alone([], node_sight.own_names())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Disk quotas for user a (uid 1):\n  Filesystem blocks quota limit grace files quota limit grace\n"
         "filer:/home 100 500 600 0 10 0 0 0\n", (500 * 1024, None)),
        ("filer:/home 700* 500 600 12345 90 80 100 0\n", (0, 10)),
        ("filer:/home 100 500 0 0 10 0 0 0\n", (400 * 1024, None)),
        ("filer:/home 100 0 0 0 10 0 0 0\n", None),
        ("filer:/other 100 500 600 0 10 0 0 0\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_quota_prints(text: str, left: tuple[int | None, int | None] | None) -> None:
    found = quota.parse_quota(text, "filer:/home")
    assert (None if found is None else (found.bytes_left, found.files_left)) == left


def test_what_lfs_quota_prints() -> None:
    found = quota.parse_lfs_quota("      /scratch/a/very/long/path\n      1000*  900 1000   6d23h   5  0  20       -\n")
    assert found == quota.Quota(0, 15, "lfs quota")
    assert quota.parse_lfs_quota("Some errors happened when getting quota info.") is None


def test_a_disk_without_room_is_an_error_and_one_with_little_a_warning(study: TinyStudy) -> None:
    request = request_of(study)
    needed = volume(request)
    facts = os.statvfs(study.paths.root)
    for room, severity in ((0.5, "error"), (1.1, "warning"), (2, "ok")):
        blocks = int(needed.size_bytes * room) // facts.f_frsize
        small = os.statvfs_result([*facts[:4], blocks, *facts[5:]])
        with patch.object(os, "statvfs", return_value=small):
            finding = next(disk_room.examine(request))
        assert (finding.severity, "MiB are free at" in finding.sentence) == (severity, True)
    few = os.statvfs_result([*facts[:7], 3, *facts[8:]])
    with patch.object(os, "statvfs", return_value=few):
        assert any(finding.severity is Severity.ERROR and "files;" in finding.sentence for finding in disk_room.examine(request))


def test_what_will_be_written_shrinks_with_what_is_there(study: TinyStudy) -> None:
    before = volume(request_of(study))
    assert before.basis == "from the shapes of the data and the size of the networks"
    study.job(0).bundle.write_bytes(b"x" * 5000)
    after = volume(request_of(study))
    assert (after.basis, after.size_bytes < before.size_bytes) == ("from the job folders that are here", True)


def test_trying_the_study_directory_leaves_no_trace(study: TinyStudy) -> None:
    before = set(study.paths.root.rglob("*"))
    assert [finding.severity for finding in writing.examine(request_of(study))] == [Severity.OK]
    assert set(study.paths.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("called", "words"),
    [("os.fsync", "cannot be written: Disk quota exceeded"), ("fcntl.flock", "cannot be locked: Disk quota exceeded")],
)
def test_a_study_directory_that_cannot_be_used(study: TinyStudy, called: str, words: str) -> None:
    with patch(called, side_effect=OSError(122, "Disk quota exceeded")):
        (finding,) = writing.examine(request_of(study))
    assert finding.severity is Severity.ERROR
    assert words in finding.sentence
    assert finding.advice == "Choose another --output-root."
    assert not list(study.paths.root.glob(".fly64-check-*"))


# Study, data, Python


@pytest.mark.parametrize(
    ("setting", "severity", "words"),
    [
        ("scan.positions=24", "warning", "View sparse keeps about 3 patterns a half, and gridsize 2 needs 8: it would be"),
        ("training.batch_size=97", "warning", "training.batch_size is 97, but view baseline has about 96 patterns to train on"),
        ("design={neighbor_count: 4, patch_size_px: 32, views: {sparse: {gridsize: 2, groups: 97}, baseline: {gridsize: 1}, "
         "dense: {gridsize: 2}}}", "error", "need more than 4 neighbours (OVERSAMPLING-001)"),
        ("scan.jitter_px=1.0", "ok", "9 jobs; every view has patterns enough."),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_the_scan(study: TinyStudy, setting: str, severity: str, words: str) -> None:
    found = list(study_sizes.examine(request_of(study, None, setting)))
    assert worst(found).severity == severity
    assert any(words in finding.text for finding in found)


def test_a_base_file_that_is_no_base(study: TinyStudy, tmp_path: Path) -> None:
    file = tmp_path / "base.npz"
    file.write_bytes(b"PK no archive")
    loaded = load_study(SMOKE, [parse_set(f"base={{npz: {file}}}")])
    (finding,) = dataset_files.examine_base(loaded.design)
    assert (finding.severity, "not a whole NPZ (zip) archive" in finding.sentence) == (Severity.ERROR, True)


def test_a_dataset_record_that_is_damaged_is_a_warning_for_it_is_made_anew(study: TinyStudy) -> None:
    record = study.paths.phase_c(1000) / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"files": {"patched_train.npz": {"sha256": "0"}}}')
    found = list(dataset_files.examine(request_of(study)))
    assert worst(found).text.endswith("no such file. The submission makes it anew.")
    record.write_text("[]")
    assert worst(list(dataset_files.examine(request_of(study)))).sentence == f"{record} is damaged."


@pytest.mark.parametrize(
    ("version", "has_setup", "severity", "words"),
    [
        (None, False, "error", "has no PyTorch (POLICY-001). pip install torch"),
        (None, True, "warning", "unless resources.setup brings it"),
        ("2.1.0", False, "error", "PyTorch is 2.1.0; allowed is 2.2 or newer (POLICY-001)"),
        ("2.13.0+cpu", False, "ok", "PyTorch 2.13.0+cpu is installed."),
        ("", False, "ok", "PyTorch is installed."),
    ],
)
def test_policy_001(version: str | None, has_setup: bool, severity: str, words: str) -> None:
    (finding,) = python_environment.torch_findings(version, has_setup=has_setup)
    assert (finding.severity, words in finding.text) == (severity, True)


def test_setup_lines_that_a_batch_shell_would_not_understand(tmp_path: Path) -> None:
    def found(*setup: str, **environment: str) -> list[str]:
        return [finding.text for finding in python_environment.setup_findings(setup, environment)]

    (missing,) = found(". /no/such/modules.sh", "module load python")
    assert "reads /no/such/modules.sh, which is not on this machine" in missing
    (unknown,) = found("module purge", "module load python")
    assert "'module purge' needs a `module` command, which this shell does not hand to its jobs. Put \". /etc" in unknown
    assert found("module load python", **{"BASH_FUNC_module%%": "() { :; }"}) == []
    assert found(f". {tmp_path}", "export X='unclosed", "source $HOME/env") == []


# Forecast


def trained(study: TinyStudy, job: int, epoch_s: float, elapsed_min: int, partition: str = "gpu") -> None:
    """A success of four epochs."""
    study.attempt(1, "succeeded", job)
    begun = now_utc()
    end = (datetime.datetime.fromisoformat(begun) + datetime.timedelta(minutes=elapsed_min)).isoformat(timespec="milliseconds")
    record = study.attempt(1, "succeeded", job).model_copy(
        update={
            "started_utc": begun,
            "ended_utc": end.replace("+00:00", "Z"),
            "first_step": 0,
            "scheduler": SchedulerIds(executor="slurm", partition=partition, gpus=1),
        }
    )
    record.write(study.job(job).result(1))
    study.job(job).history.write_text("".join(f'{{"epoch": {epoch}, "seconds": {epoch_s}}}\n' for epoch in range(4)))


def test_without_an_earlier_run_there_is_no_forecast(study: TinyStudy) -> None:
    (finding,) = forecast.examine(request_of(study))
    assert finding.sentence == "No forecast of 9 jobs: no earlier run of the same shape is in this output root."


def test_a_forecast_comes_from_the_slowest_run_of_the_shape_and_grows_with_the_epochs(study: TinyStudy) -> None:
    trained(study, 0, 60, 5)
    trained(study, 3, 60, 6)  # the same view at another dose
    settings = ("resources.partition=gpu", "resources.time='1:00:00'")
    known, unknown = forecast.examine(request_of(study, None, *settings))
    assert known.sentence == "The longest job takes about 6 min, all 3 together 0.3 GPU-hours (from 2 runs on partition gpu)."
    assert unknown.sentence.startswith("No forecast of 6 of 9 jobs")
    longer, _ = forecast.examine(request_of(study, None, *settings, "training.epochs=99"))
    assert longer.severity is Severity.WARNING
    assert "about 1.7 h" in longer.sentence
    assert longer.advice == "Ask for --time 02:45:00."


def test_a_run_in_a_sibling_study_counts_and_one_of_another_shape_does_not(study: TinyStudy) -> None:
    trained(study, 0, 60, 5)
    (study.paths.root).rename(study.paths.root.with_name("earlier"))
    study.paths.root.mkdir()
    assert "longest job takes about 5 min" in next(forecast.examine(request_of(study))).sentence
    (other,) = forecast.examine(request_of(study, None, "training.unet_widths=[16, 32]"))
    assert other.sentence.startswith("No forecast of 9 jobs")


# The page


def test_the_page_has_the_worst_of_a_subject_first_and_counts_at_the_end() -> None:
    found = [
        Finding("b", Severity.OK, "Fine."),
        Finding("a", Severity.ERROR, "Bad.", "Do it."),
        Finding("b", Severity.WARNING, "Hm."),
    ]
    assert list(lines(found, in_colour=False)) == [
        "b", "  warning  Hm.", "  ok       Fine.", "a", "  error    Bad. Do it.", "1 error, 1 warning, 0 unknown, 1 ok",
    ]  # fmt: skip
    assert "\033[31;1merror" in "".join(lines(found, in_colour=True))
    assert summary_line([*found, *found]) == "1 error, 1 warning, 0 unknown, 1 ok", "what was found twice is said once"


def test_a_submit_is_refused_with_every_error_in_one_line() -> None:
    said: list[str] = []
    found = [Finding("a", Severity.WARNING, "Hm.", "Look."), Finding("a", Severity.UNKNOWN, "Who knows.")]
    found += found[:1]  # of two shapes of job, say
    refuse_errors(found, said.append)
    assert said == ["warning: Hm. Look.", "unknown: Who knows."]
    errors = [Finding("a", Severity.ERROR, "Bad.", "Mend."), Finding("a", Severity.ERROR, "Worse.", "Mend.")]
    with pytest.raises(Exception, match=r"^Bad\. Worse\. Mend\.$"):
        refuse_errors(errors, said.append)
