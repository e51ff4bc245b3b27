"""What a replica and the process that started its Ray node tell each other."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Client, Listener
from pathlib import Path

from diffusion_serving.backends.rayserve.environment import LINK
from diffusion_serving.engine_process.link import Line, Link
from diffusion_serving.observability.errors import StartupError


@dataclass(frozen=True, slots=True)
class Loaded:
    """From a replica: its model has loaded and made a warm-up image.

    `node_id` is Ray's name of the node it is on.
    """

    node_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """From a replica: it can't make images, now or any more."""

    error: StartupError


@dataclass(frozen=True, slots=True)
class Inside:
    """From a replica, as asked: so many requests are not answered yet."""

    requests: int


@dataclass(frozen=True, slots=True)
class Gone:
    """Of a replica: its process has ended. Made at the receiving end."""


@dataclass(frozen=True, slots=True)
class Drain:
    """To a replica: from now on not ready, though requests that still arrive are answered."""


@dataclass(frozen=True, slots=True)
class Count:
    """To a replica: how many requests are inside?"""


Told = Line | Loaded | Failed | Inside | Gone
Asked = Drain | Count
ReplicaLink = Link[Asked, Told]
"""The node's end of a replica's link."""


def link_to_node() -> Link[Told, Asked]:
    """A replica's end, by what its node's environment says."""
    return Link(Client(os.environ[LINK], family="AF_UNIX"))


class Replicas:
    """The node's end of all links. `hear` is called on threads of their own, one a replica."""

    def __init__(self, path: Path, hear: Callable[[ReplicaLink, Told], None]) -> None:
        self._listener = Listener(str(path), family="AF_UNIX", backlog=64)
        self._hear = hear
        self._lock = threading.Lock()
        self._links: set[ReplicaLink] = set()
        threading.Thread(target=self._accept, name="replicas", daemon=True).start()

    @property
    def links(self) -> frozenset[ReplicaLink]:
        """Of the replicas that live."""
        with self._lock:
            return frozenset(self._links)

    def tell(self, message: Asked) -> None:
        for link in self.links:
            link.send(message)

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
        for message in link.messages():
            self._hear(link, message)
        with self._lock:
            self._links.discard(link)
        self._hear(link, Gone())
