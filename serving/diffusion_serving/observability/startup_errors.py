"""Reasons why a process cannot serve; `reason` is what users see in the service's status."""

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
