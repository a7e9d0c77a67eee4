"""What a job asks of the batch system. No part of a job's identity."""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from ptycho_torch.config import Strict

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d{1,2}))?(?::(?P<third>\d{1,2}))?")
_UNITS = re.compile(r"(\d+(?:\.\d+)?)\s*(m|min|h|d)")
_UNIT_MINUTES = {"m": 1, "min": 1, "h": 60, "d": 1440}


def time_limit_min(value: object) -> int:
    """A time limit in minutes, rounded up.

    Accepts Slurm's own forms (`90`, `30:00`, `4:00:00`, `1-12`, `1-12:00`, `1-12:00:00`) and `90m`, `4h`, `2d`.

    Raises
    ------
    ValueError
        It is none of these, or zero.
    """
    text = str(value).strip()
    minutes = _clock_minutes(text)
    if minutes is None and (match := _UNITS.fullmatch(text)):
        minutes = float(match[1]) * _UNIT_MINUTES[match[2]]
    if minutes is None or minutes <= 0:
        raise ValueError('is no time limit; write minutes, "hours:minutes:seconds", "days-hours:minutes:seconds" or 4h')
    return math.ceil(minutes)


def _clock_minutes(text: str) -> float | None:
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    first, second, third = (int(match[name] or 0) for name in ("first", "second", "third"))
    if max(second, third) > 59:
        return None
    if match["days"] is not None:
        return int(match["days"]) * 1440 + first * 60 + second + third / 60
    if match["third"] is not None:
        return first * 60 + second + third / 60
    return first + second / 60


def _as_text(value: object) -> object:
    """Accounts and sizes may look like numbers; they are text to Slurm."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_memory(value: object) -> object:
    """Slurm reads `16g` and `16G` alike."""
    text = _as_text(value)
    return text.upper() if isinstance(text, str) else text


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError("must be one line")
    return value


def _checked_time(value: object) -> str:
    time_limit_min(value)
    return str(value)


Name = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^[^\s'\"`$]+$")]
Memory = Annotated[str, BeforeValidator(_as_memory), Field(pattern=r"^\d+[KMGT]?B?$")]
Line = Annotated[str, BeforeValidator(_as_text), BeforeValidator(_one_line)]


class RetryLimits(Strict):
    """How far the collector job and `retry` may go on their own."""

    budget: Annotated[int, Field(ge=0, le=100)] = 3
    """Times that one job may be submitted again after a submit by hand."""
    mem_factor: Annotated[float, Field(gt=1, le=10)] = 1.5
    """A job that ran out of its node's memory asks for so many times as much."""
    mem_cap: Memory | None = "64G"
    """But never for more than this; null asks for no more memory at all."""


class Resources(Strict):
    """A request to the batch system, in Slurm's words."""

    partition: Name | None = None
    """Where jobs go; null leaves it to the site."""
    account: Name | None = None
    """Who pays."""
    qos: Name | None = None
    """The quality of service, where the site has several."""
    constraint: Name | None = None
    """Features that a node must have, as `a100&nvlink`."""
    exclude: tuple[Name, ...] = ()
    """Nodes that no job may go to."""
    time: Annotated[str, BeforeValidator(_checked_time)] = "04:00:00"
    """Time limit of one job: minutes, `hours:minutes:seconds`, `days-hours:minutes:seconds`, or `4h`."""
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = 1
    """GPUs of one job; 0 asks for none."""
    gpu_type: Name | None = None
    """The site's word for a kind of GPU, as `a100`; asks `--gpus-per-node=a100:1`."""
    gres: Name | None = None
    """GPUs in the site's own words, as `gpu:a100:1`, instead of gpus_per_node and gpu_type."""
    cpus_per_task: Annotated[int, Field(ge=1, le=1024)] = 4
    """Cores of one job."""
    mem: Memory | None = "8G"
    """Memory of a node, as `8G`; null leaves it to the site."""
    array_parallelism: Annotated[int, Field(ge=1)] = 256
    """Jobs of a submission that may run at the same time, all its arrays together."""
    signal_delay_s: Annotated[int, Field(ge=1)] = 120
    """Seconds of warning before the time limit. Slurm may give up to 60 more."""
    setup: tuple[Line, ...] = ()
    """Shell lines that prepare the node, such as `module load python`; the job ends if one fails."""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Line] = Field(default_factory=dict)
    """Environment variables of the job."""
    cpu_partition: Name | None = None
    """Where the jobs that need no GPU go, which make the datasets and collect; null sends them to `partition`."""
    cpu_account: Name | None = None
    """The account of those jobs; null means `account`."""
    cpu_qos: Name | None = None
    """The QOS of those jobs; null means `qos`."""
    cpu_constraint: Name | None = None
    """The constraint of those jobs; null means none."""
    cpu_mem: Memory | None = None
    """The memory of those jobs; null means `mem`."""
    cpu_time: Annotated[str, BeforeValidator(_checked_time)] = "01:00:00"
    """The time limit of those jobs."""
    retry: RetryLimits = RetryLimits()
    """How far retries may go without a person."""

    @property
    def time_limit_min(self) -> int:
        """The time limit in whole minutes."""
        return time_limit_min(self.time)

    @property
    def gpu_request(self) -> dict[str, str]:
        """The GPUs of a job as an option of sbatch and its value; empty where it wants none."""
        if self.gres is not None:
            return {"gres": self.gres}
        if self.gpus_per_node == 0:
            return {}
        kind = "" if self.gpu_type is None else f"{self.gpu_type}:"
        return {"gpus_per_node": f"{kind}{self.gpus_per_node}"}

    def without_gpus(self) -> "Resources":
        """What a job that needs no GPU asks for: making the datasets, collecting."""
        return self.model_copy(
            update={
                "partition": self.cpu_partition or self.partition,
                "account": self.cpu_account or self.account,
                "qos": self.cpu_qos or self.qos,
                "constraint": self.cpu_constraint,
                "mem": self.cpu_mem or self.mem,
                "time": self.cpu_time,
                "gpus_per_node": 0,
                "gpu_type": None,
                "gres": None,
            }
        )


def more_memory(mem: str, factor: float, cap: str) -> str | None:
    """`mem` times `factor`, in whole MiB and at most `cap`; None where that is no more."""
    asked = min(math.ceil(memory_mib(mem) * factor), math.floor(memory_mib(cap)))
    return f"{asked}M" if asked > memory_mib(mem) else None


def memory_mib(mem: str) -> float:
    """An amount of memory as Slurm reads it, in MiB: `8G`, `500M`, or megabytes without a unit."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)B?[nc]?", mem)
    if match is None:
        raise ValueError(f"{mem!r} is no amount of memory")
    return float(match[1]) * 1024.0 ** ("KMGTP".index(match[2] or "M") - 1)
