"""Debian packages, installed where they are missing, with none of their services started."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster_errors import ClusterUnavailableError

_POLICY = Path("/usr/sbin/policy-rc.d")
_INSTALL = ("install", "--yes", "--no-install-recommends")


def missing_packages(names: Sequence[str]) -> list[str]:
    """Those of the packages that are not installed.

    Raises
    ------
    ClusterUnavailableError
        This is no Debian.
    """
    return [name for name in names if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        answer = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${db:Status-Status}", name], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise ClusterUnavailableError("There is no dpkg-query on this machine; the packages are Debian's.") from None
    return answer.stdout == "installed"


def install_packages(names: Sequence[str]) -> None:
    """Install packages; the lists are fetched anew if the ones at hand do not do.

    Raises
    ------
    ClusterUnavailableError
        apt-get cannot install them, with its own words.
    """
    with _no_service_starts():
        if _apt_get(*_INSTALL, *names).returncode != 0:
            _apt_get("update")
            answer = _apt_get(*_INSTALL, *names)
            if answer.returncode != 0:
                raise ClusterUnavailableError(f"apt-get cannot install {' '.join(names)}: {answer.stderr.strip()[-500:]}")


def _apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "--quiet=2", "--option=DPkg::Lock::Timeout=120", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Forbid packages to start their services, as policy-rc.d does; one that is there already is left as it is."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
