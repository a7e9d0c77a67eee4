"""What may be wrong with the test cluster."""


class ClusterError(Exception):
    """The cluster did not do what was asked of it."""


class ClusterUnavailableError(ClusterError):
    """This machine cannot have a test cluster: no root, or no packages."""
