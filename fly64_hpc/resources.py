"""What a job asks of the batch system. No part of a job's identity."""

import math
import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError("must be one line")
    return value


def _checked_time(value: object) -> str:
    time_limit_min(value)
    return str(value)


Name = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^[^\s'\"`$]+$")]
Memory = Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^\d+[KMGT]?B?$")]
Line = Annotated[str, BeforeValidator(_as_text), BeforeValidator(_one_line)]


class Resources(BaseModel):
    """A request to the batch system, in Slurm's words."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    partition: Name | None = None
    cpu_partition: Name | None = None
    """Where jobs that need no GPU go: making the datasets."""
    account: Name | None = None
    qos: Name | None = None
    constraint: Name | None = None
    time: Annotated[str, BeforeValidator(_checked_time)] = "04:00:00"
    """Time limit of one job: minutes, `hours:minutes:seconds`, `days-hours:minutes:seconds`, or `4h`."""
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = 1
    gpu_request: Annotated[str, Field(pattern="^(gpus-per-node|gres)$")] = "gpus-per-node"
    """How the site wants GPUs asked for: `--gpus-per-node=1` or `--gres=gpu:1`."""
    cpus_per_task: Annotated[int, Field(ge=1, le=1024)] = 4
    mem: Memory | None = "8G"
    """Memory of a node, as `8G`; null leaves it to the site."""
    array_parallelism: Annotated[int, Field(ge=1)] = 256
    """Jobs of a study that may run at the same time."""
    signal_delay_s: Annotated[int, Field(ge=1)] = 120
    """Seconds of warning before the time limit."""
    setup: tuple[Line, ...] = ()
    """Shell lines that prepare the node, such as `module load python`; the job ends if one fails."""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Line] = {}
    """Environment variables of the job."""

    @property
    def time_limit_min(self) -> int:
        """The time limit in whole minutes."""
        return time_limit_min(self.time)
