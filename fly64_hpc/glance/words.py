"""The words of `status`: why a job is where it is, how long things take, and the sums. Pure."""

from collections import Counter
from collections.abc import Sequence

from fly64_hpc.attempt_costs import Spent
from fly64_hpc.glance.facts import JobGlance, StudyGlance
from fly64_hpc.job_state import JobState
from fly64_hpc.report_page.words import number
from fly64_hpc.slurm.pending_reasons import waiting_sentence

MISSING = "-"
_BARS = "▁▂▃▄▅▆▇█"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def rough(seconds: float) -> str:
    """A time as a person says it: `0.8 s`, `14 min`, `2 h 5 min`, `1 d 3 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    minutes = round(seconds / _MINUTE_S)
    hours, minute = divmod(minutes, 60)
    if hours < 1:
        return f"{minutes} min"
    if seconds < _DAY_S:
        return f"{hours} h {minute} min" if minute and hours < 10 else f"{hours} h"
    days, hour = divmod(round(seconds / _HOUR_S), 24)
    return f"{days} d {hour} h" if hour else f"{days} d"


def state_words(job: JobGlance) -> str:
    """The state, with what is to be noted of it."""
    if job.is_stuck:
        return f"{job.state}, stuck"
    return f"{job.state}, suspended" if job.is_halted else str(job.state)


def epoch_words(job: JobGlance) -> str:
    """Epochs completed of how many: `7/50`."""
    epoch = job.epoch
    if epoch is None:
        return MISSING
    return str(epoch) if job.epochs is None else f"{epoch}/{job.epochs}"


def stuck_words(job: JobGlance) -> str:
    """For how long a stuck job has been silent, beside what is usual."""
    silence = rough(job.silence_s or 0.0)
    if job.beat is None:
        return f"no first step for {silence} after its start"
    if job.beat.phase == "evaluating":
        return f"no end of its evaluation for {silence}"
    usual = f" (a step took {rough(job.beat.step_s)})" if job.beat.step_s is not None else ""
    return f"no step for {silence}{usual}"


def forecast_words(job: JobGlance) -> str:
    """What is left of the training, and of the time limit; nothing where neither is known."""
    if job.beat is not None and job.beat.phase == "evaluating":
        return "is being evaluated"
    forecast = job.forecast
    limit = f"{rough(max(0.0, forecast.limit_s))} of the limit" if forecast.limit_s is not None else ""
    if forecast.training_s is None:
        return f"{limit} left" if limit else ""
    least = "" if forecast.is_whole else "more than "
    left = f"{least}{rough(forecast.training_s)} left of training"
    together = f"{left}, {limit}" if limit else left
    return f"will not fit its limit: {together}" if forecast.fits is False else together


def why(job: JobGlance) -> str:
    """Why a job is in its state, as a sentence for people; the manifest has the raw words."""
    if job.state is JobState.RUNNING:
        return _why_running(job)
    queue = job.view.queue
    if queue is None or not job.view.outcome.is_live or queue.word != "PENDING":
        return job.view.outcome.reason
    sentence = waiting_sentence(queue.reason)
    if queue.start_utc is not None:
        sentence += f"; Slurm expects to start it at {queue.start_utc[:16].replace('T', ' ')} UTC"
    raw = f"squeue: PENDING {queue.reason}".rstrip()
    return job.view.outcome.reason.replace(raw, sentence) if raw in job.view.outcome.reason else sentence


def _why_running(job: JobGlance) -> str:
    first = "suspended by Slurm" if job.is_halted else stuck_words(job) if job.is_stuck else forecast_words(job)
    record = job.view.record
    if job.silence_s is None or record is None:
        sign = "no sign of it from the node yet" if job.view.is_with_slurm else ""
        return _joined(first, job.view.outcome.reason, sign)
    first = first or ("starting" if job.beat is None else "")
    return _joined(first, f"attempt {record.attempt} on {job.view.node or record.process.host}")


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def counts(glance: StudyGlance) -> str:
    """How many jobs are where."""
    tally = Counter(job.state for job in glance.jobs)
    stuck = sum(job.is_stuck for job in glance.jobs)
    noted = {JobState.RUNNING: f" ({stuck} stuck)" if stuck else ""}
    parts = (f"{tally[state]} {state.value}{noted.get(state, '')}" for state in JobState if state in tally)
    return f"{len(glance.jobs)} job{'s' if len(glance.jobs) != 1 else ''}: {', '.join(parts)}"


def costs(glance: StudyGlance) -> str:
    """GPU-hours asked, used and lost, or the hours of attempts where no GPU was in play."""
    asked, spent = glance.asked_gpu_h, glance.spent
    if asked or spent.gpu_h:
        return f"GPU-hours: {number(asked)} asked, {number(spent.gpu_h)} used, {number(spent.lost_gpu_h)} lost"
    if spent == Spent():
        return ""
    return f"no GPU; all attempts took {rough(3600 * spent.hours)}, of which {rough(3600 * spent.lost_hours)} were lost"


def sparkline(values: Sequence[float], width: int) -> str:
    """How values went, as bars; of many, the last of each of `width` equal spans."""
    if len(values) > width:
        values = [values[(place + 1) * len(values) // width - 1] for place in range(width)]
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in values)
