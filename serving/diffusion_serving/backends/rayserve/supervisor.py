"""The supervisor of a Ray node: handles its replicas' events and the signals, and drains it."""

import contextlib
import io
import logging
import math
import queue
import signal
import sys
import time
from collections.abc import Callable

from diffusion_serving.backends.rayserve.node import Node
from diffusion_serving.backends.rayserve.replica_link import (
    CountInFlight,
    Disconnected,
    Drain,
    Failed,
    GiveUp,
    InFlight,
    Loaded,
    ReplicaEvent,
    ReplicaLink,
    Replicas,
)
from diffusion_serving.engine_process.link import LogLine
from diffusion_serving.settings import Settings

log = logging.getLogger("diffusion_serving")

_TICK_SECONDS = 0.5
_COUNT_SECONDS = 0.1
_ANSWER_SECONDS = 3.0
"""The longest that refusals, which need no device, may take on their way to the clients."""
_LINE_LENGTH = 500
"""Characters that are kept of a line of Ray's."""


SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_signals() -> None:
    """Makes a signal unwind the start from now on."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))


class RayOutput(io.StringIO):
    """A stream whose lines become warnings in the log: Ray prints its messages."""

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            log.warning("Ray printed a message", extra={"line": line[:_LINE_LENGTH]})
        return len(text)


class Supervisor:
    """Handles the events of this node's replicas and the signals, in one thread.

    Args:
        tick: called at least twice a second.

    """

    def __init__(self, node: Node, tick: Callable[[], None] = lambda: None) -> None:
        self._node = node
        self._output = sys.stdout
        self._tick = tick
        self._events: queue.SimpleQueue[tuple[ReplicaLink, ReplicaEvent] | signal.Signals] = (
            queue.SimpleQueue()
        )
        self._loaded: set[ReplicaLink] = set()
        self._counts: dict[ReplicaLink, InFlight] = {}
        self.stopping = False
        self.node_id: str | None = None
        """Ray's name of this node, once a replica has reported it."""
        self._impatient = False

    @property
    def loaded(self) -> int:
        """Replicas of this node that generate images."""
        return len(self._loaded)

    def on_event(self, link: ReplicaLink, event: ReplicaEvent) -> None:
        """Takes an event of a replica; on any thread."""
        if isinstance(event, LogLine):
            self._output.write(event.text)
            self._output.flush()
        else:
            self._events.put((link, event))

    def take_signals(self) -> None:
        """Makes SIGTERM and SIGINT end the node in good order from now on."""
        for number in SIGNALS:
            signal.signal(number, lambda got, _: self._events.put(signal.Signals(got)))

    def run(self) -> None:
        """Returns when a signal has come.

        Raises:
            StartupError: a replica can't generate images, or Ray has ended.

        """
        while not self.stopping:
            self._step(_TICK_SECONDS)

    def drain(self, replicas: Replicas, settings: Settings) -> None:
        """Returns when every request is answered or refused, or at a second signal."""
        deadline = self._deadline(settings)
        replicas.send(Drain())
        if self._loaded:
            self._wait_quiet(replicas, settings, deadline)
        self._node.close_proxy()
        if self._loaded:
            # Only from now on does the proxy close its clients' connections, with the next response
            # of each: the replicas' own header ends at the proxy.
            self._wait(settings.drain_seconds)
        self._counts.clear()  # requests may have come since, on connections that were open
        while self._waits(deadline) and any(
            link not in self._counts or self._counts[link].requests for link in replicas.links
        ):
            replicas.send(CountInFlight())
            self._wait(_COUNT_SECONDS)
        if time.monotonic() >= deadline:
            replicas.send(GiveUp())
            deadline = time.monotonic() + _ANSWER_SECONDS
        # A busy machine may have left responses in the proxy, which ends after the last of them.
        deadline = min(deadline, time.monotonic() + _ANSWER_SECONDS)
        while self._waits(deadline) and self._node.proxy_runs:
            self._wait(_COUNT_SECONDS)

    def _wait_quiet(self, replicas: Replicas, settings: Settings, deadline: float) -> None:
        """Returns when no request has arrived for the drain's time, or at a limit."""
        begin, quiet = time.monotonic(), settings.drain_seconds
        limit = min(begin + max(quiet, settings.drain_limit_seconds), deadline)
        self._wait(min(quiet, max(0.0, limit - begin)))
        while self._waits(limit):
            replicas.send(CountInFlight())
            self._wait(_COUNT_SECONDS)
            counts = [self._counts.get(link) for link in replicas.links]
            if all(count is not None and count.quiet >= quiet for count in counts):
                return

    def _waits(self, until: float) -> bool:
        return not self._impatient and time.monotonic() < until

    @staticmethod
    def _deadline(settings: Settings) -> float:
        """The time by which the pod's grace period ends; infinite if it is unknown."""
        grace = settings.grace_seconds
        return math.inf if grace is None else time.monotonic() + grace

    def close(self, settings: Settings) -> None:
        """Takes no more connections after the drain, and returns when the open ones have ended."""
        deadline = self._deadline(settings)
        self._wait(settings.drain_seconds)
        self._node.close_proxy()
        while self._waits(deadline) and self._node.proxy_runs:
            self._wait(_COUNT_SECONDS)

    def wait_gone(self, replicas: Replicas, settings: Settings) -> None:
        """Returns when no replica is left, or at a second signal or the grace period's end."""
        deadline = self._deadline(settings)
        while self._waits(deadline) and replicas.links:
            self._step(_TICK_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Waits so long, or until a second signal comes."""
        until = time.monotonic() + seconds
        while not self._impatient and (left := until - time.monotonic()) > 0:
            self._step(left)

    def _wait_answered(self, link: ReplicaLink) -> None:
        """Returns when a replica that has failed has refused its requests, and Ray sent that."""
        until = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < until:
            link.send(CountInFlight())
            with contextlib.suppress(queue.Empty):
                match self._events.get(timeout=_COUNT_SECONDS):
                    case (sender, InFlight(0)) if sender is link:
                        break
        self._node.close_proxy()
        while time.monotonic() < until and self._node.proxy_runs:
            time.sleep(_COUNT_SECONDS)

    def _step(self, seconds: float) -> None:
        self._node.check()
        self._tick()
        try:
            event = self._events.get(timeout=min(seconds, _TICK_SECONDS))
        except queue.Empty:
            return
        if isinstance(event, signal.Signals):
            log.info("stopping", extra={"signal": event.name})
            self._impatient = self.stopping  # a second signal: do not wait
            self.stopping = True
            return
        link, replica_event = event
        match replica_event:
            case Loaded(node_id):
                self.node_id = node_id
                self._loaded.add(link)
            case Failed(error):
                self._wait_answered(link)
                raise error
            case InFlight():
                self._counts[link] = replica_event
            case Disconnected():
                self._loaded.discard(link)
                if not self.stopping:
                    log.warning("a replica has ended; Ray Serve starts another")
