"""A queue of keys to reconcile: coalesced, one worker a key at a time, retried with backoff.

The same contract as the work queue of Kubernetes' own controllers: a key that is added while it
waits is reconciled once; one that is added while it is being reconciled is reconciled again after.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from diffusion_operator.metrics import QUEUE_DEPTH

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Retry(Exception):  # noqa: N818 - says what to do, not what went wrong
    """Work that failed, and may say how long to wait at least before it is tried again."""

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class WorkQueue(Generic[K]):
    """Calls ``work(key)`` for every key added, until it succeeds.

    ``work`` may return a number of seconds after which it wants to be called again.
    """

    def __init__(self, work: Callable[[K], Awaitable[float | None]], workers: int = 4) -> None:
        self._work = work
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._running: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        # With when each is due, since uvloop's handle of what is due at once doesn't tell.
        self._timers: dict[K, tuple[float, asyncio.Handle]] = {}
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers in the running event loop."""
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self._workers)]

    async def stop(self) -> None:
        """End the workers; keys still waiting are forgotten, for the next start lists them anew."""
        for _, timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    def add(self, key: K) -> None:
        """Have the key reconciled soon."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            QUEUE_DEPTH.set(len(self._waiting))
            self._ready.put_nowait(key)

    def add_later(self, key: K, seconds: float) -> None:
        """Have the key reconciled in ``seconds``; the earlier of two such wishes holds."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if key in self._timers:
            earlier, timer = self._timers[key]
            if earlier <= due:
                return
            timer.cancel()
        self._timers[key] = due, loop.call_later(seconds, self._due, key)

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
        """Seconds after which to call again, if at all."""
        try:
            delay: float | None = await self._work(key)
        except Exception as error:  # noqa: BLE001 - whatever fails, the other keys must go on
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(FIRST_RETRY_SECONDS * 2 ** (failures - 1), LAST_RETRY_SECONDS)
            if isinstance(error, Retry) and error.after is not None:
                delay = max(delay, error.after)
            logger.warning(
                "%s failed, again in %.1f s: %s: %s", key, delay, type(error).__name__, error
            )
            return delay
        self._failures.pop(key, None)
        return delay
