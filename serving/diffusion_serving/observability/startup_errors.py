"""Reasons why a process cannot serve; `reason` is what users see in the service's status."""

# ruff: noqa: N818 - the classes are named after the reasons that users see


class StartupError(Exception):
    """The process cannot serve. `reason` is one CamelCase word, `str()` has the advice.

    A subclass with arguments of its own defines how it is pickled, since it may be raised in
    another process.
    """

    reason = "StartupFailed"


class InvalidConfiguration(StartupError):
    """The command line, the environment or the configuration document is wrong."""

    reason = "InvalidConfiguration"


class DownloadFailed(StartupError):
    """A source cannot be fetched, or its files cannot be stored. The message has no secret."""

    reason = "DownloadFailed"


class ModelLoadFailed(StartupError):
    """The model's directory cannot be loaded, or its warm-up image failed."""

    reason = "ModelLoadFailed"


class WrongDevice(StartupError):
    """The configured device is not there, and no other one replaces it."""

    reason = "WrongDevice"


class DeviceLost(StartupError):
    """The device failed while it was serving: this process cannot use it any more."""

    reason = "DeviceLost"


class EngineHung(StartupError):
    """An engine or its device does not come back. `how` is the predicate of a sentence."""

    reason = "EngineHung"

    def __init__(self, how: str) -> None:
        super().__init__(
            f"An engine {how}, so the server restarts. If that happens again, look at the node's "
            "kernel log and the GPU's health (NVIDIA logs an Xid error)."
        )
        self.how = how

    def __reduce__(self) -> tuple[type["EngineHung"], tuple[str]]:
        return EngineHung, (self.how,)


class WorkerLost(StartupError):
    """An engine's process has ended. `exit_code` is negative for a signal, None unknown."""

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
