"""Reasons why the engine answers a request without images. Independent of HTTP."""

# ruff: noqa: N818 - the classes are named after the reasons that users see


class RequestError(Exception):
    """The reason why a request has no images.

    A subclass with arguments of its own defines how it is pickled, since it may be raised in
    another process.
    """


class QueueFull(RequestError):
    """The queue is full; after `retry_after` whole seconds, at least 1, it likely has room."""

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


class EngineSilent(DeadlineExceeded):
    """The engine did not answer by the deadline, so whether the request has started is unknown."""

    def __init__(self, timeout: float) -> None:
        RequestError.__init__(
            self, f"The engine did not answer within the {timeout:g} s that a request may wait."
        )
        self.timeout = timeout

    def __reduce__(self) -> tuple[type["EngineSilent"], tuple[float]]:
        return EngineSilent, (self.timeout,)


class NotReady(RequestError):
    """The engine has no model yet, could not load it, or has stopped."""


class PicturesBlocked(RequestError):
    """The safety checker blocked pictures of the request: those of `seeds`, of `images` in all."""

    def __init__(self, seeds: tuple[int, ...], images: int) -> None:
        several = len(seeds) > 1
        number = "The image" if images == 1 else f"{len(seeds)} of {images} images"
        named = ", ".join(str(seed) for seed in seeds)
        super().__init__(
            f"{number} (seed{'s' if several else ''} {named}) {'are' if several else 'is'} blocked "
            "by the service's safety checker."
        )
        self.seeds = seeds
        self.images = images

    def __reduce__(self) -> tuple[type["PicturesBlocked"], tuple[tuple[int, ...], int]]:
        return PicturesBlocked, (self.seeds, self.images)


class EngineFailed(RequestError):
    """The pipeline failed. `error_id` is also in the log line; the prompt is in neither.

    `cause` is the cause and the remedy in whole sentences, empty where the cause is unknown.
    """

    def __init__(self, error_id: str, cause: str = "") -> None:
        super().__init__(f"The engine failed on this request (error {error_id}).")
        self.error_id = error_id
        self.cause = cause

    def __reduce__(self) -> tuple[type["EngineFailed"], tuple[str, str]]:
        return EngineFailed, (self.error_id, self.cause)
