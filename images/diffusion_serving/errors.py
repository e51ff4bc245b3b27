"""What can go wrong, as types that are independent of HTTP."""

# ruff: noqa: N818 - they are named after the reasons that users see


class StartupError(Exception):
    """The process cannot serve. `reason` is one CamelCase word, `str()` says what to do."""

    reason = "StartupFailed"


class InvalidConfiguration(StartupError):
    """The command line, the environment or the configuration document is wrong."""

    reason = "InvalidConfiguration"


class ModelLoadFailed(StartupError):
    """The model's directory cannot be loaded, or its warm-up image failed."""

    reason = "ModelLoadFailed"


class WrongDevice(StartupError):
    """The device asked for is not there. There is no fall-back to another one."""

    reason = "WrongDevice"


class DeviceLost(StartupError):
    """The device failed while it was serving: this process cannot use it any more."""

    reason = "DeviceLost"


class RequestError(Exception):
    """A request that the engine did not answer with images."""


class QueueFull(RequestError):
    """`retry_after` is the whole seconds after which a place is likely to be free, at least 1."""

    def __init__(self, length: int, retry_after: int) -> None:
        super().__init__(f"All {length} places of the queue are taken.")
        self.length = length
        self.retry_after = retry_after


class DeadlineExceeded(RequestError):
    """The request waited in the queue for longer than `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        super().__init__(f"The request waited {timeout:g} s in the queue without being started.")
        self.timeout = timeout


class NotReady(RequestError):
    """The engine has no model yet, could not load it, or has stopped."""


class EngineFailed(RequestError):
    """The pipeline raised. `error_id` finds the log line; the prompt is in neither."""

    def __init__(self, error_id: str) -> None:
        super().__init__(f"The engine failed on this request (error {error_id}).")
        self.error_id = error_id
