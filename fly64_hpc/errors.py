"""What the launcher refuses, as one tree; `PtychoError` is the root that `ptycho_torch` shares.

PtychoError
  RequestError             the request was wrong: nothing was submitted, exit code 2
    StudyError             the study's YAML, a flag or a profile says what cannot be
    StudyChangedError      the study directory holds another version of this study
    SchedulerError         the scheduler is absent or does not answer
      RefusedError         it answered, and refused
  StudyDirectoryError      a file in the study directory that is missing or damaged
    CodeChangedError       a node would run other code than that of its submission
"""

from ptycho_torch.config import PtychoError

EXIT_OK = 0
EXIT_JOB_FAILED = 1
EXIT_REQUEST_WRONG = 2


class RequestError(PtychoError):
    """The request was wrong; nothing was submitted."""


class StudyError(RequestError):
    """The study's YAML, a flag or a site profile says what cannot be."""


class StudyChangedError(RequestError):
    """The study directory holds another version of this study."""


class SchedulerError(RequestError):
    """The scheduler is absent or does not answer."""


class RefusedError(SchedulerError):
    """The scheduler answered and refused; nothing was submitted."""


class StudyDirectoryError(PtychoError):
    """A file in the study directory is missing or damaged."""


class CodeChangedError(StudyDirectoryError):
    """A node would run other code than the submission was made with."""
