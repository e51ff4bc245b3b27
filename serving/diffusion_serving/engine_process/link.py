"""A connection between two processes of one server."""

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Sent = TypeVar("Sent")
Received = TypeVar("Received")


class Link(Generic[Sent, Received]):
    """An end of a connection: any thread may send, one thread receives."""

    def __init__(self, connection: "Connection[Sent, Received]") -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Sent) -> None:
        """Sends, or does nothing where the other end has gone; then `messages` ends."""
        with self._sending, contextlib.suppress(OSError):
            self._connection.send(message)

    def messages(self) -> Iterator[Received]:
        """The messages of the other end, until it has gone."""
        while True:
            try:
                yield self._connection.recv()
            except (EOFError, OSError):
                return


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the other process's log."""

    text: str


class LogStream(io.StringIO):
    """A stream for a log's handler that sends each line over a link."""

    def __init__(self, send: Callable[[LogLine], None]) -> None:
        super().__init__()
        self._send = send

    def write(self, text: str) -> int:
        self._send(LogLine(text))
        return len(text)
