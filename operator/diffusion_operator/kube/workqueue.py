"""Work queue: keys coalesced, one worker per key at a time, retries with backoff.

The contract is that of Kubernetes' own controllers: a waiting key that is enqueued again is
reconciled once; a key that is enqueued during its reconcile is reconciled again afterwards.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from diffusion_operator.kube.metrics import QUEUE_DEPTH

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 60.0
# Failures of a kind that passes are worth a warning after some 25 seconds.
_CALM_FAILURES = 7

logger = logging.getLogger(__name__)


class Retry(Exception):  # noqa: N818 - says what to do, not what went wrong
    """Failure of a reconcile that may set a minimum delay, whatever else wakes the key."""

    def __init__(self, message: str, *, after: float | None = None, passes: bool = False) -> None:
        super().__init__(message)
        self.after = after
        self.passes = passes
        """Whether the failure ends by itself soon, as those of a starting API server do."""


class WorkQueue(Generic[K]):
    """Queue that calls ``work(key)`` for each key until the call succeeds.

    ``work`` may return a number of seconds after which to be called again.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        workers: int = 4,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """Create the queue; ``on_failure`` is called when a worker ends before ``stop``."""
        self._work = work
        self._on_failure = on_failure
        self._stopping = False
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        # Time before which the API server wants no further try.
        self._not_before: dict[K, float] = {}
        # The due time is kept beside the handle, since uvloop's handle doesn't tell it.
        self._timers: dict[K, tuple[float, asyncio.Handle]] = {}
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers in the running event loop."""
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self._workers)]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Report a worker that ended, whose key would never be reconciled again."""
        if not self._stopping:
            cause = "cancelled" if task.cancelled() else repr(task.exception())
            logger.error("a worker of the queue has ended, exiting: %s", cause)
            self._on_failure()

    async def stop(self) -> None:
        """Stop the workers; waiting keys are dropped, since the next start lists all objects."""
        self.halt()
        for task in self._tasks:
            # A worker that failed has been reported.
            with suppress(asyncio.CancelledError, Exception):
                await task

    def halt(self) -> None:
        """Cancel the workers, whatever they do."""
        self._stopping = True
        for _, timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def add(self, key: K) -> None:
        """Enqueue the key now, or once the minimum delay of its last failure is over."""
        if key in self._not_before and (rest := self._rest_of(key)) > 0:
            self.add_later(key, rest)
        elif key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            QUEUE_DEPTH.set(len(self._waiting))
            self._ready.put_nowait(key)

    def add_later(self, key: K, seconds: float) -> None:
        """Enqueue the key in ``seconds``; the earlier of two such calls wins."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if key in self._timers:
            earlier, timer = self._timers[key]
            if earlier <= due:
                return
            timer.cancel()
        self._timers[key] = due, loop.call_later(seconds, self._due, key)

    def _rest_of(self, key: K) -> float:
        """Seconds left of the key's minimum delay."""
        return self._not_before[key] - asyncio.get_running_loop().time()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _run(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            QUEUE_DEPTH.set(len(self._waiting))
            self._running.add(key)
            try:
                delay = await self._attempt(key)
            finally:
                self._running.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self.add_later(key, delay)

    async def _attempt(self, key: K) -> float | None:
        """One call of ``work``.

        Returns:
            Seconds until the next call, if one is due.
        """
        try:
            delay: float | None = await self._work(key)
        except Exception as error:  # noqa: BLE001 - whatever fails, the other keys must go on
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
            if isinstance(error, Retry) and error.after is not None:
                delay = max(delay, error.after)
                self._not_before[key] = asyncio.get_running_loop().time() + error.after
            calm = isinstance(error, Retry) and error.passes and failures <= _CALM_FAILURES
            logger.log(
                logging.INFO if calm else logging.WARNING,
                "%s failed, again in %.1f s: %s: %s",
                key,
                delay,
                type(error).__name__,
                error,
            )
            return delay
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        return delay
