"""The folder in which everything of the test cluster lies, and the configuration in it."""

import os
import re
import shutil
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from string import Template

from cluster_errors import ClusterError

GPUS_PER_NODE = 2
_TEMPLATES = Path(__file__).resolve().parent
_NULL_DEVICE = os.makedev(1, 3)
_SUBFOLDERS = ("etc", "run", "log", "state", "spool", "devices", "database")


@dataclass(frozen=True)
class ClusterFolder:
    """A folder that is made for the cluster, marked as such, and removed with it."""

    root: Path

    @property
    def slurm_conf(self) -> Path:
        """What SLURM_CONF names."""
        return self.root / "etc" / "slurm.conf"

    @property
    def _mark(self) -> Path:
        return self.root / ".fly64-test-cluster"

    def pid_file(self, daemon: str) -> Path:
        """Where a daemon's pid is kept."""
        return self.root / "run" / f"{daemon}.pid"

    def hold_file(self, node: str) -> Path:
        """While it is there, the node's slurmd is not started again."""
        return self.root / "run" / f"{node}.hold"

    def log(self, daemon: str) -> Path:
        """What a daemon prints."""
        return self.root / "log" / f"{daemon}.log"

    def exists(self) -> bool:
        """Whether there is a folder of a cluster.

        Raises
        ------
        ClusterError
            Something else is there, which is nobody's to write into or to remove.
        """
        if not self.root.exists() and not self.root.is_symlink():
            return False
        if self.root.is_symlink() or not self._mark.exists() or self.root.stat().st_uid != os.getuid():
            raise ClusterError(f"{self.root} is no folder of a test cluster of this user; set FLY64_CLUSTER to another.")
        return True

    def make(self) -> None:
        """Make the folder and the GPUs in it, where they are not there yet."""
        if not self.exists():
            self.root.mkdir(mode=0o755)
            self._mark.touch()
        for name in _SUBFOLDERS:
            (self.root / name).mkdir(exist_ok=True)
        (self.root / "database").chmod(0o700)  # its socket lets everybody in who finds it
        for number in range(GPUS_PER_NODE):
            self._make_gpu(self.root / "devices" / f"nvidia{number}")

    @staticmethod
    def _make_gpu(path: Path) -> None:
        if not path.exists():
            os.mknod(path, stat.S_IFCHR | 0o666, _NULL_DEVICE)

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.root)

    def write_configuration(self, max_array_size: int, *, accounting: bool) -> bool:
        """Fill in the templates; whether that changed slurm.conf."""
        values = {name: str(self.root / name) for name in _SUBFOLDERS} | {
            "host": socket.gethostname().split(".")[0],
            "max_array_size": str(max_array_size),
            "accounting": "slurmdbd" if accounting else "none",
            "accounted_gpus": "AccountingStorageTRES=gres/gpu" if accounting else "",  # fatal without slurmdbd
        }
        before = self.slurm_conf.read_text() if self.slurm_conf.exists() else ""
        for template in _TEMPLATES.glob("*.conf.in"):
            file = self.slurm_conf.with_name(template.stem)
            file.write_text(Template(template.read_text()).substitute(values))
            file.chmod(0o600 if file.stem == "slurmdbd" else 0o644)
        return self.slurm_conf.read_text() != before

    def set_option(self, name: str, value: str) -> None:
        """Change one option of slurm.conf."""
        text, changed = re.subn(rf"^{name}=.*$", f"{name}={value}", self.slurm_conf.read_text(), flags=re.MULTILINE)
        if changed != 1:
            raise ClusterError(f"{self.slurm_conf} has {name} {changed} times.")
        self.slurm_conf.write_text(text)

    def option(self, name: str) -> str:
        """The value of one option of slurm.conf."""
        match = re.search(rf"^{name}=(.*)$", self.slurm_conf.read_text(), flags=re.MULTILINE)
        if match is None:
            raise ClusterError(f"{self.slurm_conf} has no {name}.")
        return match[1]
