"""A connection between two processes of one server."""

import contextlib
import io
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from select import select as wait_writable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Sent = TypeVar("Sent")
Received = TypeVar("Received")

_SURE_BYTES = 16 * 1024
"""Bytes that a connection takes whole whenever it is writable."""


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


class PatientLink(Link[Sent, Received]):
    """An end whose `send` never waits, however long the other end reads nothing.

    A message that the connection has no room for goes out on a thread of its own, and with it, in
    their order, those that follow it.
    """

    def __init__(self, connection: "Connection[Sent, Received]") -> None:
        super().__init__(connection)
        self._backlog: deque[bytes | memoryview] = deque()

    def send(self, message: Sent) -> None:
        data = ForkingPickler.dumps(message)
        with self._sending:
            if not self._backlog and len(data) <= _SURE_BYTES and self._has_room():
                with contextlib.suppress(OSError):
                    self._connection.send_bytes(data)
                return
            self._backlog.append(data)
            if len(self._backlog) == 1:
                threading.Thread(target=self._send_backlog, name="backlog", daemon=True).start()

    def _has_room(self) -> bool:
        """Whether `_SURE_BYTES` fit now: Linux calls a socket writable while most of it is free."""
        try:
            return bool(wait_writable([], [self._connection], [], 0)[1])
        except (OSError, ValueError):  # closed
            return True

    def _send_backlog(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self._connection.send_bytes(self._backlog[0])
            with self._sending:
                self._backlog.popleft()
                if not self._backlog:
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
