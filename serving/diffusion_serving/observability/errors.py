"""What can go wrong, as types that are independent of HTTP."""

# ruff: noqa: N818 - they are named after the reasons that users see


class StartupError(Exception):
    """The process cannot serve. `reason` is one CamelCase word, `str()` says what to do.

    One that takes other arguments than its sentence says how to pickle it, since it may be raised
    in another process.
    """

    reason = "StartupFailed"


class InvalidConfiguration(StartupError):
    """The command line, the environment or the configuration document is wrong."""

    reason = "InvalidConfiguration"


class DownloadFailed(StartupError):
    """A source cannot be had, or its files cannot be stored. The sentence holds no secret."""

    reason = "DownloadFailed"


class ModelLoadFailed(StartupError):
    """The model's directory cannot be loaded, or its warm-up image failed."""

    reason = "ModelLoadFailed"


class WrongDevice(StartupError):
    """The device asked for is not there. There is no fall-back to another one."""

    reason = "WrongDevice"


class DeviceLost(StartupError):
    """The device failed while it was serving: this process cannot use it any more."""

    reason = "DeviceLost"


class WorkerLost(StartupError):
    """A process that makes images has ended. `exit_code` is negative for a signal, None unknown."""

    reason = "WorkerLost"

    def __init__(self, exit_code: int | None) -> None:
        how = f"exit code {exit_code}"
        if exit_code is not None and exit_code < 0:
            how = f"signal {-exit_code}"
        super().__init__(
            f"A worker process ended ({how}). If its log says nothing, it was most likely killed "
            "for lack of memory: give the pod more."
        )
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type["WorkerLost"], tuple[int | None]]:
        return WorkerLost, (self.exit_code,)


class RequestError(Exception):
    """A request that the engine did not answer with images.

    One that takes arguments says how to pickle it, since it may be raised in another process.
    """


class QueueFull(RequestError):
    """`retry_after` is the whole seconds after which a place is likely to be free, at least 1."""

    def __init__(self, length: int, retry_after: int) -> None:
        super().__init__(f"All {length} places of the queue are taken.")
        self.length = length
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type["QueueFull"], tuple[int, int]]:
        return QueueFull, (self.length, self.retry_after)


class DeadlineExceeded(RequestError):
    """The request waited in the queue for longer than `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        super().__init__(f"The request waited {timeout:g} s in the queue without being started.")
        self.timeout = timeout

    def __reduce__(self) -> tuple[type["DeadlineExceeded"], tuple[float]]:
        return DeadlineExceeded, (self.timeout,)


class NotReady(RequestError):
    """The engine has no model yet, could not load it, or has stopped."""


class EngineFailed(RequestError):
    """The pipeline raised. `error_id` finds the log line; the prompt is in neither."""

    def __init__(self, error_id: str) -> None:
        super().__init__(f"The engine failed on this request (error {error_id}).")
        self.error_id = error_id

    def __reduce__(self) -> tuple[type["EngineFailed"], tuple[str]]:
        return EngineFailed, (self.error_id,)
