"""A connection between two processes of one server."""

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Sent = TypeVar("Sent")
Received = TypeVar("Received")


class Link(Generic[Sent, Received]):
    """One end. Any thread may send; one thread receives."""

    def __init__(self, connection: "Connection[Sent, Received]") -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Sent) -> None:
        """Sends, or does nothing where the other end has gone, which `messages` tells of."""
        with self._sending, contextlib.suppress(OSError):
            self._connection.send(message)

    def messages(self) -> Iterator[Received]:
        """What the other end sends, until it has gone."""
        while True:
            try:
                yield self._connection.recv()
            except (EOFError, OSError):
                return
