"""The process that starts a Ray node, tells it what to serve, and ends it."""

import io
import logging
import queue
import signal
import sys
import time
from collections.abc import Callable

from diffusion_serving.backends.rayserve.node import Node
from diffusion_serving.backends.rayserve.replica_link import (
    Count,
    Drain,
    Failed,
    Gone,
    Inside,
    Loaded,
    ReplicaLink,
    Replicas,
    Told,
)
from diffusion_serving.engine_process.link import Line

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_COUNT_SECONDS = 0.1
_SAID = 500
"""Characters that are kept of a line of Ray's."""


SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_signals() -> None:
    """From now on a signal unwinds what is being started."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))


class Said(io.StringIO):
    """A stream whose lines become warnings in the log: Ray prints what it has to tell."""

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            log.warning("Ray has said something", extra={"said": line[:_SAID]})
        return len(text)


class Supervisor:
    """Hears the replicas of this node and the signals, in one thread.

    Args:
        tick: called at least twice a second.

    """

    def __init__(self, node: Node, tick: Callable[[], None] = lambda: None) -> None:
        self._node = node
        self._output = sys.stdout
        self._tick = tick
        self._events: queue.SimpleQueue[tuple[ReplicaLink, Told] | signal.Signals] = (
            queue.SimpleQueue()
        )
        self._loaded: set[ReplicaLink] = set()
        self._inside: dict[ReplicaLink, int] = {}
        self.stopping = False
        self.node_id: str | None = None
        """Ray's name of this node, once a replica has told it."""
        self._impatient = False

    @property
    def loaded(self) -> int:
        """Replicas of this node that make images."""
        return len(self._loaded)

    def hear(self, link: ReplicaLink, told: Told) -> None:
        """Takes what a replica tells; on any thread."""
        if isinstance(told, Line):
            self._output.write(told.text)
            self._output.flush()
        else:
            self._events.put((link, told))

    def take_signals(self) -> None:
        """From now on SIGTERM and SIGINT end what this process runs, in good order."""
        for number in SIGNALS:
            signal.signal(number, lambda got, _: self._events.put(signal.Signals(got)))

    def run(self) -> None:
        """Returns when a signal has come.

        Raises:
            StartupError: a replica can't make images, or Ray has ended.

        """
        while not self.stopping:
            self._step(_TICK_SECONDS)

    def drain(self, replicas: Replicas, drain_seconds: float) -> None:
        """Returns when every request is answered, or at a second signal."""
        replicas.tell(Drain())
        if self._loaded:
            self._wait(drain_seconds)
        self._node.close_proxy()
        if self._loaded:
            # Only from now on does the proxy tell clients, with its next answer, that their
            # connection closes: what the replicas say of theirs ends at the proxy.
            self._wait(drain_seconds)
        while not self._impatient and any(self._inside.get(link, 1) for link in replicas.links):
            replicas.tell(Count())
            self._wait(_COUNT_SECONDS)

    def close(self, drain_seconds: float) -> None:
        """Takes no more connections after that time, and returns when the open ones have ended."""
        self._wait(drain_seconds)
        self._node.close_proxy()
        while not self._impatient and self._node.proxy_runs:
            self._wait(_COUNT_SECONDS)

    def wait_gone(self, replicas: Replicas) -> None:
        """Returns when no replica is left, or at a second signal."""
        while not self._impatient and replicas.links:
            self._step(_TICK_SECONDS)

    def _wait(self, seconds: float) -> None:
        """So long, or until a second signal comes."""
        until = time.monotonic() + seconds
        while not self._impatient and (left := until - time.monotonic()) > 0:
            self._step(left)

    def _step(self, seconds: float) -> None:
        self._node.check()
        self._tick()
        try:
            event = self._events.get(timeout=min(seconds, _TICK_SECONDS))
        except queue.Empty:
            return
        if isinstance(event, signal.Signals):
            log.info("stopping", extra={"signal": event.name})
            self._impatient = self.stopping  # somebody does not want to wait
            self.stopping = True
            return
        link, told = event
        match told:
            case Loaded(node_id):
                self.node_id = node_id
                self._loaded.add(link)
            case Failed(error):
                raise error
            case Inside(requests):
                self._inside[link] = requests
            case Gone():
                self._loaded.discard(link)
                if not self.stopping:
                    log.warning("a replica has ended; Ray Serve starts another")
