"""Python as the jobs will find it: the interpreter of the script, PyTorch, this package, and the lines that prepare a node."""

import importlib.metadata
import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fly64_hpc.preflight.finding import Finding, Severity
from fly64_hpc.preflight.request import PreflightRequest
from fly64_hpc.resources import Resources
from fly64_hpc.study import IterativeStudy, StudyDesign

SUBJECT = "python"
PACKAGE = "fly64-hpc"
LEAST_TORCH = (2, 2)
_MODULE_FUNCTION = re.compile(r"^BASH_FUNC_(module|ml)(%%|\(\))$")


def examine(request: PreflightRequest) -> Iterator[Finding]:
    """What holds on this machine; for Slurm also what the script relies on."""
    resources = request.loaded.design.resources
    yield from torch_findings(_torch_version(), has_setup=request.executor == "slurm" and bool(resources.setup))
    yield from _tensorboard(request.loaded.design)
    if request.executor == "slurm":
        yield Finding(SUBJECT, Severity.OK, f"The jobs run {sys.executable}.")
        yield from _package(resources)
        yield from setup_findings(resources.setup, os.environ)


def _torch_version() -> str | None:
    """The version of PyTorch, which is not imported: that takes seconds. Empty where it is there without its metadata."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def torch_findings(version: str | None, *, has_setup: bool) -> Iterator[Finding]:
    """POLICY-001: PyTorch must be there, though setup lines may bring it on a node."""
    if version is None:
        severity = Severity.WARNING if has_setup else Severity.ERROR
        sentence = f"{sys.executable} has no PyTorch (POLICY-001)" + (", unless resources.setup brings it." if has_setup else ".")
        yield Finding(SUBJECT, severity, sentence, "pip install torch, or submit with the Python that has it.")
    elif (numbers := re.match(r"(\d+)\.(\d+)", version)) and (int(numbers[1]), int(numbers[2])) < LEAST_TORCH:
        sentence = f"PyTorch is {version}; allowed is 2.2 or newer (POLICY-001)."
        yield Finding(SUBJECT, Severity.ERROR, sentence, "pip install --upgrade torch.")
    else:
        yield Finding(SUBJECT, Severity.OK, f"PyTorch {version} is installed.".replace("  ", " "))


def _tensorboard(design: StudyDesign) -> Iterator[Finding]:
    """Curves that nobody could write would be missed after the training only; a Phase F has none."""
    wanted = design.training.tensorboard and not isinstance(design, IterativeStudy)
    if wanted and importlib.util.find_spec("tensorboard") is None:
        sentence = "training.tensorboard is true, but this Python has no package tensorboard."
        advice = f"Install it: {sys.executable} -m pip install tensorboard (or '.[tensorboard]' in a checkout)."
        yield Finding(SUBJECT, Severity.ERROR, sentence, advice)


def _package(resources: Resources) -> Iterator[Finding]:
    """An installed package is found from anywhere; one that lies on a path only, as long as the job has that path."""
    try:
        importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        if "PYTHONPATH" in resources.env:
            sentence = (
                f"{PACKAGE} is not installed in {sys.prefix}, and resources.env.PYTHONPATH replaces the path that finds it."
            )
            yield Finding(SUBJECT, Severity.WARNING, sentence, "Install it there with pip, or add its folder to that PYTHONPATH.")


def setup_findings(setup: Sequence[str], environment: Mapping[str, str]) -> Iterator[Finding]:
    """Setup lines that read a file which is not here, or use `module` where a batch shell would not know it."""
    knows_module = any(_MODULE_FUNCTION.match(name) for name in environment)
    for line in setup:
        words = _words(line)
        if len(words) > 1 and words[0] in (".", "source"):
            knows_module = True
            if words[1].startswith("/") and "$" not in words[1] and not Path(words[1]).exists():
                sentence = f"The setup line {line!r} reads {words[1]}, which is not on this machine; a job ends if it fails."
                yield Finding(SUBJECT, Severity.WARNING, sentence, "Correct resources.setup, unless the nodes have that file.")
        elif words and words[0] in ("module", "ml") and not knows_module:
            sentence = f"The setup line {line!r} needs a `module` command, which this shell does not hand to its jobs."
            advice = 'Put ". /etc/profile.d/modules.sh", or what the centre names, before it in resources.setup.'
            yield Finding(SUBJECT, Severity.WARNING, sentence, advice)
            return


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()
