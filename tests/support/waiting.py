"""Waiting for a condition, evaluated at each change of the objects that it reads, or by polling."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

T = TypeVar("T")

LOOK_AGAIN = 0.5
"""Seconds after which a look is repeated although no object has changed.

A look may depend on more than objects, and a watch may be broken while its API server is down.
"""
_BURST = 0.01  # changes come in bursts; one look after a burst sees all of them


class Topic(NamedTuple):
    """The objects of one kind in one namespace of one cluster."""

    server: str
    path: str
    namespace: str


class Look:
    """One evaluation of a condition: the objects that it read, and whether it did more."""

    def __init__(self) -> None:
        self.topics: set[Topic] = set()
        self.is_watched = True
        """False when the look wrote, or read something without a watch."""


_look: ContextVar[Look | None] = ContextVar("_look", default=None)
_changed = threading.Condition()
_clock = 0
_changed_at: dict[Topic, int] = {}


def is_looking() -> bool:
    """Whether a condition is being evaluated in this thread."""
    return _look.get() is not None


def reads(topic: Topic) -> None:
    """Notes that the current look depends on those objects."""
    if look := _look.get():
        look.topics.add(topic)


def acts() -> None:
    """Notes that the current look wrote, or read something without a watch."""
    if look := _look.get():
        look.is_watched = False


def changed(topic: Topic) -> None:
    """Wakes the looks that depend on those objects."""
    global _clock  # noqa: PLW0603 - one clock for all clusters that a test waits for
    with _changed:
        _clock += 1
        _changed_at[topic] = _clock
        _changed.notify_all()


def eventually(
    look: Callable[[], T | None],
    *,
    within: float = 60,
    what: str = "",
    every: float = 0.05,
    forgive: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """Waits for the first truthy result of ``look``; fails after ``within`` seconds.

    A look that only reads objects through ``Kubectl`` is repeated when one of them changes, any
    other look after ``every`` seconds. An exception of ``forgive`` counts as no result yet.
    """
    deadline = time.monotonic() + within
    while True:
        since = _clock
        result: T | Exception | None
        with _looking() as seen:
            try:
                if result := look():
                    return result
            except forgive as error:
                result = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {result!r}")
        if seen.is_watched and seen.topics:
            _wait_for_change(seen.topics, since)
        else:
            time.sleep(every)


async def settled(
    look: Callable[[], object], *, within: float = 60.0, every: float = 0.002
) -> None:
    """Waits until ``look`` is truthy, while the event loop continues."""
    async with asyncio.timeout(within):
        while not look():  # noqa: ASYNC110 - another thread makes the change
            await asyncio.sleep(every)


@contextmanager
def _looking() -> Iterator[Look]:
    outer, look = _look.get(), Look()
    before = _look.set(look)
    try:
        yield look
    finally:
        _look.reset(before)
        if outer:
            outer.topics |= look.topics
            outer.is_watched &= look.is_watched


def _wait_for_change(topics: set[Topic], since: int) -> None:
    def is_changed() -> bool:
        return any(_changed_at.get(topic, 0) > since for topic in topics)

    with _changed:
        _changed.wait_for(is_changed, LOOK_AGAIN)
    time.sleep(_BURST)
