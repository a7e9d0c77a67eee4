"""One thing that was looked at, and what was seen."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding means for a submit."""

    ERROR = "error"
    """It would fail: nothing is submitted."""
    WARNING = "warning"
    UNKNOWN = "unknown"
    """Nobody could tell; never taken for ok."""
    OK = "ok"


@dataclass(frozen=True)
class Finding:
    """A finding, as a sentence."""

    subject: str
    severity: Severity
    sentence: str
    advice: str = ""
    """What to do."""

    @property
    def text(self) -> str:
        """Sentence and advice."""
        return f"{self.sentence} {self.advice}".rstrip()
