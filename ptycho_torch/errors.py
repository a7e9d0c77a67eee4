"""Every error that a user can cause, as one tree.

PtychoError
  ConfigError              a value of the configuration that cannot be
  DataContractError        DATA-001: a file that is refused, and why
  GroupingError            OVERSAMPLING-001: groups that cannot be formed
  ViewUnavailableError     a view that this dataset cannot yield (the study records a skip)
  BridgeError              CONFIG-001: the legacy dictionary was read before it was filled
  CheckpointError          a checkpoint or bundle that is missing or damaged
  DeviceError              a device was required and is absent
  MissingTorchError        POLICY-001: PyTorch cannot be imported
  SolverUnavailableError   an iterative solver that is not installed
  SolverDivergedError      an iterative solver left the finite numbers
  TrainingDivergedError    the loss left the finite numbers
"""


class PtychoError(Exception):
    """What went wrong, and what to do next.

    Parameters
    ----------
    message
        One sentence: what, where, what was got, what is allowed.
    hint
        The next thing to do, as one sentence.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(PtychoError):
    """A value of the configuration that cannot be."""


class DataContractError(PtychoError):
    """A file that DATA-001 refuses."""


class GroupingError(PtychoError):
    """Groups that OVERSAMPLING-001 forbids or that the positions cannot give."""


class ViewUnavailableError(PtychoError):
    """A view that this dataset cannot yield; the study records it as a skip."""


class BridgeError(PtychoError):
    """The legacy dictionary was read before CONFIG-001 filled it, or holds another job's values."""


class CheckpointError(PtychoError):
    """A checkpoint or bundle that is missing, damaged or of another job."""


class DeviceError(PtychoError):
    """A device was required and this machine does not have it."""


class MissingTorchError(PtychoError):
    """PyTorch cannot be imported (POLICY-001)."""


class SolverUnavailableError(PtychoError):
    """An iterative solver that is not installed."""


class SolverDivergedError(PtychoError):
    """A reconstruction became infinite or not a number."""


class TrainingDivergedError(PtychoError):
    """The training loss became infinite or not a number."""
