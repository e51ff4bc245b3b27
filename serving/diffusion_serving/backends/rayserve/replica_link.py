"""The links between replicas and the process that started their Ray node."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Client, Listener
from pathlib import Path

from diffusion_serving.backends.rayserve.environment import LINK
from diffusion_serving.engine_process.link import Link, LogLine
from diffusion_serving.observability.startup_errors import StartupError


@dataclass(frozen=True, slots=True)
class Loaded:
    """Event: the replica's model has loaded and its warm-up image is done.

    `node_id` is Ray's name of the node it is on.
    """

    node_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Event: the replica cannot generate images, now or any more."""

    error: StartupError


@dataclass(frozen=True, slots=True)
class InFlight:
    """Event: the number of requests in flight, in answer to `CountInFlight`.

    `quiet` is the time in seconds since a request arrived that was no probe.
    """

    requests: int
    quiet: float


@dataclass(frozen=True, slots=True)
class Disconnected:
    """Event: the replica's process has ended. Made at the receiving end."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Command: be not ready from now on, though requests that still arrive are answered."""


@dataclass(frozen=True, slots=True)
class CountInFlight:
    """Command: send the number of requests in flight."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Command: refuse the requests in flight, because the pod is about to be killed."""


ReplicaEvent = LogLine | Loaded | Failed | InFlight | Disconnected
ReplicaCommand = Drain | CountInFlight | GiveUp
ReplicaLink = Link[ReplicaCommand, ReplicaEvent]
"""The node's end of a replica's link."""


def link_to_node() -> Link[ReplicaEvent, ReplicaCommand]:
    """Opens a replica's end, by its node's environment."""
    return Link(Client(os.environ[LINK], family="AF_UNIX"))


class Replicas:
    """The node's ends of all links. `on_event` is called on one thread for each replica."""

    def __init__(self, path: Path, on_event: Callable[[ReplicaLink, ReplicaEvent], None]) -> None:
        self._listener = Listener(str(path), family="AF_UNIX", backlog=64)
        self._on_event = on_event
        self._lock = threading.Lock()
        self._links: set[ReplicaLink] = set()
        threading.Thread(target=self._accept, name="replicas", daemon=True).start()

    @property
    def links(self) -> frozenset[ReplicaLink]:
        """The links of the replicas that live."""
        with self._lock:
            return frozenset(self._links)

    def send(self, command: ReplicaCommand) -> None:
        for link in self.links:
            link.send(command)

    def _accept(self) -> None:
        while True:
            try:
                link: ReplicaLink = Link(self._listener.accept())
            except (OSError, EOFError):
                continue
            threading.Thread(
                target=self._receive, args=(link,), name="replica", daemon=True
            ).start()

    def _receive(self, link: ReplicaLink) -> None:
        with self._lock:
            self._links.add(link)
        for event in link.messages():
            self._on_event(link, event)
        with self._lock:
            self._links.discard(link)
        self._on_event(link, Disconnected())
