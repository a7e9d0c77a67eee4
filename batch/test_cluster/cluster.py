"""A real Slurm on one machine for the tests: munge, accounting, a controller, and four nodes that can be crashed.

Run by any Python 3.11 as root on Debian 12: `python3 batch/test_cluster/cluster.py up|down|status`. Everything lies in one
folder, FLY64_CLUSTER or /tmp/fly64-cluster, and the ports are fixed, so there is one cluster at a time.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import daemons
from cluster_errors import ClusterError, ClusterUnavailableError
from cluster_folder import ClusterFolder
from daemons import wait_until
from debian_packages import install_packages, missing_packages

DEFAULT_FOLDER = "/tmp/fly64-cluster"
NODES = ("c1", "g1", "g2", "g3")
MAX_ARRAY_SIZE = 8
"""A study of nine jobs must be split."""

_PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins")
_ACCOUNTING_PACKAGES = ("slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server-core", "mariadb-client-core")
_AT_WORK = {"idle", "mixed", "allocated", "completing"}
# The first process of a node: what systemd is to slurmd on a real one.
_NODE_INIT = 'hostname "$1"; while :; do slurmd -D -N "$1"; sleep 0.2; while [ -e "$2" ]; do sleep 0.2; done; done'


def _print(line: str) -> None:
    print(line, flush=True)


class Cluster:
    """The test cluster, and what can happen to it.

    Parameters
    ----------
    root
        Its folder; FLY64_CLUSTER, or else /tmp/fly64-cluster.
    say
        Gets the progress lines.
    """

    def __init__(self, root: Path | None = None, say: Callable[[str], None] = _print) -> None:
        self.folder = ClusterFolder(root or Path(os.environ.get("FLY64_CLUSTER", DEFAULT_FOLDER)))
        self._say = say

    # Up, down, and what it is like

    def environment(self) -> dict[str, str]:
        """The variables that a user of the cluster needs."""
        return {"SLURM_CONF": str(self.folder.slurm_conf)}

    def up(self, max_array_size: int = MAX_ARRAY_SIZE, *, accounting: bool = True) -> None:
        """Bring the cluster up, or to these settings, or repair what is broken.

        Raises
        ------
        ClusterUnavailableError
            This user is not root, or the packages cannot be had.
        ClusterError
            A part of it does not start.
        """
        if os.getuid() != 0:
            raise ClusterUnavailableError("The test cluster needs root: its nodes are namespaces, its GPUs device nodes.")
        self._install_packages(accounting=accounting)
        self.folder.make()
        if self.folder.write_configuration(max_array_size, accounting=accounting):
            self._stop("slurmctld")
        self._start_munge()
        if accounting:
            self.start_database()
        else:
            self.stop_database()
        self.start_controller()
        self._start_all_nodes()

    def down(self) -> None:
        """End every process of the cluster and remove its folder."""
        if not self.folder.exists():
            self._say(f"there is no cluster in {self.folder.root}")
            return
        for node in NODES:
            self._stop(node, signal.SIGKILL)
        for daemon in ("slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._stop(daemon)
        self.folder.remove()
        self._say(f"{self.folder.root} removed")

    def states(self) -> dict[str, bool]:
        """Which of the cluster's processes are alive; a node's is its first one."""
        names = ("munged", "mariadbd", "slurmdbd", "slurmctld", *NODES)
        return {name: daemons.alive(self.folder.pid_file(name)) for name in names}

    def call(self, *command: str, timeout_s: float = 60) -> str:
        """Run one of Slurm's commands; what it printed is returned.

        Raises
        ------
        ClusterError
            It failed, with its own words, or did not end within `timeout_s`.
        """
        try:
            answer = subprocess.run(
                command, env=self._full_environment(), capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{' '.join(command)} did not end within {timeout_s:.0f} s.") from None
        if answer.returncode != 0:
            raise ClusterError(f"{' '.join(command)} failed: {answer.stderr.strip()}")
        return answer.stdout

    # What can happen to it

    def crash_node(self, name: str) -> None:
        """The machine is gone at once, with slurmd and every process of every job on it."""
        self._stop(name, signal.SIGKILL)

    def kill_slurmd(self, name: str) -> None:
        """Only slurmd is killed, and stays away until `start_node`; the jobs' processes live on."""
        self.folder.hold_file(name).touch()
        daemons.kill_grandchild(self.folder.pid_file(name), "slurmd")

    def start_node(self, name: str) -> None:
        """Start the machine, or its slurmd, whichever is down; returns when the controller knows of it."""
        self._wait_for_node(name, self._start_node(name))

    def kill_controller(self) -> None:
        """Kill slurmctld without a chance to save its state."""
        self._stop("slurmctld", signal.SIGKILL)

    def start_controller(self) -> None:
        """Start slurmctld, where it is not running, from the state that it saved."""
        self._start("slurmctld", "slurmctld", "-D")
        self._wait_for_answer("slurmctld", "scontrol", "ping")

    def stop_database(self) -> None:
        """Stop slurmdbd and its mariadb; nothing of what they hold is lost."""
        self._stop("slurmdbd")
        self._stop("mariadbd")

    def start_database(self) -> None:
        """Start mariadb and slurmdbd, where they are not running."""
        self._start_mariadb()
        self._start("slurmdbd", "slurmdbd", "-D", MYSQL_UNIX_PORT=str(self._database_socket))
        self._wait_for_answer("slurmdbd", "sacctmgr", "--noheader", "list", "cluster")
        if "fly64" not in self.call("sacctmgr", "--noheader", "list", "cluster", "format=cluster").split():
            self.call("sacctmgr", "--immediate", "add", "cluster", "fly64")

    def set_max_array_size(self, size: int) -> None:
        """Change MaxArraySize, which the controller reads when it starts; jobs go on."""
        self.folder.set_option("MaxArraySize", str(size))
        self._stop("slurmctld")
        self.start_controller()
        self.call("scontrol", "reconfigure")

    def cancel_all(self) -> None:
        """Cancel every job; they may take KillWait to end."""
        jobs = set(self.call("squeue", "--noheader", "--format=%F").split())
        for job in jobs:
            self.call("scancel", "--quiet", job)

    def wait_idle(self, timeout_s: float = 400) -> None:
        """Wait until no job waits, runs or ends, and every node is idle."""
        wait_until("no job is left and every node is idle", self._is_idle, timeout_s)

    def _is_idle(self) -> bool:
        return not self.call("squeue", "--noheader") and set(self._node_states().values()) == {"idle"}

    # Its parts

    def _install_packages(self, *, accounting: bool) -> None:
        missing = missing_packages([*_PACKAGES, *(_ACCOUNTING_PACKAGES if accounting else ())])
        if missing:
            self._say(f"installing {' '.join(missing)}")
            install_packages(missing)

    def _full_environment(self) -> dict[str, str]:
        """Of this process, but for what a surrounding Slurm has put there."""
        inherited = {name: value for name, value in os.environ.items() if not re.match("SLURM|SBATCH|SACCT|SQUEUE", name)}
        return inherited | self.environment() | {"PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"}

    def _start(self, daemon: str, *command: str, **variables: str) -> None:
        if daemons.alive(self.folder.pid_file(daemon)):
            return
        self._say(f"starting {daemon}")
        environment = self._full_environment() | variables
        daemons.start(command, self.folder.pid_file(daemon), self.folder.log(daemon), environment)

    def _stop(self, daemon: str, sign: signal.Signals = signal.SIGTERM) -> None:
        if daemons.alive(self.folder.pid_file(daemon)):
            self._say(f"{'killing' if sign == signal.SIGKILL else 'stopping'} {daemon}")
        daemons.stop(self.folder.pid_file(daemon), sign)

    def _wait_for_answer(self, daemon: str, *command: str) -> None:
        """Wait until a daemon answers a command.

        Raises
        ------
        ClusterError
            It ended or is silent, with its last words.
        """

        def answers_or_ended() -> bool:
            return self._answers(*command) or not daemons.alive(self.folder.pid_file(daemon))

        with suppress(ClusterError):
            wait_until(f"{daemon} answers", answers_or_ended)
        try:
            self.call(*command, timeout_s=5)
        except ClusterError as error:
            raise ClusterError(f"{daemon} does not answer: {error}\n{self._last_words(daemon)}") from None

    def _answers(self, *command: str) -> bool:
        try:
            self.call(*command, timeout_s=5)
        except ClusterError:
            return False
        return True

    def _last_words(self, daemon: str) -> str:
        log = self.folder.log(daemon)
        return f"the end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-8:])

    def _start_munge(self) -> None:
        run = self.folder.root / "run"
        key = run / "munge.key"
        if not key.exists():
            key.write_bytes(os.urandom(128))
            key.chmod(0o400)
        files = (f"--key-file={key}", f"--seed-file={run / 'munge.seed'}", f"--pid-file={run / 'munged.own-pid'}")
        socket = run / "munge.socket"
        log = f"--log-file={self.folder.log('munged-own')}"
        self._start("munged", "munged", "--foreground", "--force", f"--socket={socket}", *files, log)
        self._wait_for_answer("munged", "munge", "--no-input", f"--socket={socket}")

    @property
    def _database_socket(self) -> Path:
        return self.folder.root / "database" / "socket"

    def _start_mariadb(self) -> None:
        data = self.folder.root / "database" / "data"
        if not (data / "mysql").exists():
            self._say("making the database")
            make = ("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db")
            self.call(*make, "--auth-root-authentication-method=normal", "--skip-name-resolve")
        places = (f"--datadir={data}", f"--socket={self._database_socket}", f"--pid-file={data / 'own-pid'}")
        size = ("--innodb-buffer-pool-size=128M", "--innodb-log-file-size=64M", "--innodb-lock-wait-timeout=900")
        self._start("mariadbd", "mariadbd", "--no-defaults", "--user=root", "--skip-networking", *places, *size)
        ping = ("mariadb", "--no-defaults", "--user=root", f"--socket={self._database_socket}", "--execute=select 1")
        self._wait_for_answer("mariadbd", *ping)

    def _start_all_nodes(self) -> None:
        since = {node: self._start_node(node) for node in NODES}
        for node, moment in since.items():
            self._resume(node)
            self._wait_for_node(node, moment)

    def _start_node(self, name: str) -> float:
        """Start what is down of a node; its slurmd must have started at that time (s since 1970) or later."""
        hold = self.folder.hold_file(name)
        before = time.time()
        if daemons.alive(self.folder.pid_file(name)) and not hold.exists():
            return 0.0
        hold.unlink(missing_ok=True)
        namespaces = ("unshare", "--pid", "--fork", "--kill-child", "--uts", "--mount-proc")
        self._start(name, *namespaces, "sh", "-c", _NODE_INIT, "init", name, str(hold))
        return before

    def _resume(self, name: str) -> None:
        """A node that the controller drained (a duplicate job after its crash) stays so until told."""
        if self._node_states()[name].startswith("drain"):
            self.call("scontrol", "update", f"nodename={name}", "state=resume")

    def _wait_for_node(self, name: str, since: float) -> None:
        wait_until(
            f"node {name} is at work",
            lambda: self._slurmd_started(name) >= int(since) and self._node_states()[name] in _AT_WORK,
        )

    def _slurmd_started(self, name: str) -> float:
        """When the slurmd started that the controller knows of, in s since 1970; -1 for never."""
        match = re.search(r"SlurmdStartTime=(\d\S+)", self.call("scontrol", "--oneliner", "show", "node", name))
        return datetime.fromisoformat(match[1]).timestamp() if match else -1.0

    def _node_states(self) -> dict[str, str]:
        lines = self.call("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return {name: state for name, _, state in (line.partition(" ") for line in lines)}


def _print_status(cluster: Cluster) -> int:
    """Say what is alive and what Slurm says of itself; 1 where something is down."""
    if not cluster.folder.exists():
        _print(f"there is no cluster in {cluster.folder.root}")
        return 1
    accounting = cluster.folder.option("AccountingStorageType").endswith("slurmdbd")
    states = {name: alive for name, alive in cluster.states().items() if accounting or name not in ("mariadbd", "slurmdbd")}
    for name, alive in states.items():
        _print(f"{name:<10} {'alive' if alive else 'down'}")
    if states["slurmctld"]:
        _print(cluster.call("sinfo") + cluster.call("squeue"))
    return 0 if all(states.values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cluster.py", description="The tests' own Slurm on this machine (root, Debian 12).")
    parser.add_argument("verb", choices=("up", "down", "status"))
    parser.add_argument("--max-array-size", type=int, default=MAX_ARRAY_SIZE, metavar="N", help="of up: Slurm's MaxArraySize")
    parser.add_argument("--no-accounting", action="store_true", help="of up: no slurmdbd and no database, so no sacct")
    return parser


def main() -> int:
    """Run a verb; its exit code is returned."""
    arguments = _parser().parse_args()
    cluster = Cluster()
    try:
        if arguments.verb == "status":
            return _print_status(cluster)
        if arguments.verb == "down":
            cluster.down()
            return 0
        cluster.up(arguments.max_array_size, accounting=not arguments.no_accounting)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 2
    _print(f"export SLURM_CONF={cluster.folder.slurm_conf}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
