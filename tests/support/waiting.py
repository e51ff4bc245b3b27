"""Waiting for what a test expects: at each change of what it reads in a cluster, else by a poll."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeVar

T = TypeVar("T")

LOOK_AGAIN = 0.5
"""Seconds after which a look is repeated though nothing it read has changed: a look may depend on
more than objects, and a watch may be broken because its API server is away."""
_BURST = 0.01  # changes come in bursts; one look after the burst sees them all


class Topic(NamedTuple):
    """The objects of one kind in one namespace of one cluster."""

    server: str
    path: str
    namespace: str


class Look:
    """What one evaluation of a condition has read, and whether more than reads happened."""

    def __init__(self) -> None:
        self.topics: set[Topic] = set()
        self.told_of_all = True
        """False when it wrote, or looked where no watch tells of changes."""


_look: ContextVar[Look | None] = ContextVar("_look", default=None)
_changed = threading.Condition()
_clock = 0
_changed_at: dict[Topic, int] = {}


def is_looking() -> bool:
    """Whether a condition is being evaluated in this thread."""
    return _look.get() is not None


def reads(topic: Topic) -> None:
    """Note that the current look depends on those objects."""
    if look := _look.get():
        look.topics.add(topic)


def acts() -> None:
    """Note that the current look does what no watch can tell of."""
    if look := _look.get():
        look.told_of_all = False


def changed(topic: Topic) -> None:
    """Wake the looks that depend on those objects."""
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
    """The first truthy answer of ``look``; fails with the last one after ``within`` seconds.

    A look that only reads objects through ``Kubectl`` is repeated when one of them changes, any
    other look after ``every`` seconds. An exception of ``forgive`` counts as an answer that isn't
    there yet.
    """
    deadline = time.monotonic() + within
    while True:
        since = _clock
        found: T | Exception | None
        with _looking() as seen:
            try:
                if found := look():
                    return found
            except forgive as error:
                found = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {found!r}")
        if seen.told_of_all and seen.topics:
            _wait_for_change(seen.topics, since)
        else:
            time.sleep(every)


async def settled(
    look: Callable[[], object], *, within: float = 60.0, every: float = 0.002
) -> None:
    """Waits on an event loop, which goes on meanwhile, until ``look`` answers truthily."""
    async with asyncio.timeout(within):
        while not look():  # noqa: ASYNC110 - what it waits for happens in another thread
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
            outer.told_of_all &= look.told_of_all


def _wait_for_change(topics: set[Topic], since: int) -> None:
    def is_changed() -> bool:
        return any(_changed_at.get(topic, 0) > since for topic in topics)

    with _changed:
        _changed.wait_for(is_changed, LOOK_AGAIN)
    time.sleep(_BURST)
