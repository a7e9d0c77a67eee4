"""A process is a pid with its start: a pid that is used again is another process."""

import subprocess
import sys
import time
from dataclasses import replace

from fly64_hpc.process_identity import process, this_process


def test_this_process_is_alive() -> None:
    assert this_process().is_alive() is True


def test_a_process_that_ended_is_not_alive_even_as_a_zombie() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        identity = process(child.pid)
        assert identity.is_alive()
        child.kill()
        while identity.is_alive():
            time.sleep(0.01)
        assert child.returncode is None  # nobody has waited for it: it is a zombie
    assert identity.is_alive() is False


def test_the_same_pid_with_another_start_or_boot_is_another_process() -> None:
    assert replace(this_process(), start_ticks=1).is_alive() is False
    assert replace(this_process(), boot_id="another").is_alive() is False


def test_a_process_of_another_host_cannot_be_known() -> None:
    assert replace(this_process(), host="node17").is_alive() is None
