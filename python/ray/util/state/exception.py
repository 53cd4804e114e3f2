"""What the state API raises."""


class RayStateApiException(Exception):
    """A question about the cluster's state could not be answered."""


class DataSourceUnavailable(Exception):
    """A part of the cluster that knows the answer cannot be asked now."""


class ServerUnavailable(RayStateApiException):
    """The server of the state API cannot be reached."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or "The server of the state API cannot be reached: is the cluster's dashboard on?")
