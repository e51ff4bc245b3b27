"""Progress for people on stderr; stdout is only for results that scripts read."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from localcluster.errors import LocalClusterError


class Progress:
    """Prints lines that begin with the seconds since the object's creation."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._start = time.monotonic()

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def say(self, message: str) -> None:
        print(f"[{self.elapsed():5.1f}s] {message}", file=self._stream, flush=True)

    def wait(
        self,
        missing: Callable[[], str | None],
        *,
        timeout: float,
        interval: float = 0.1,
        reminder: float = 10.0,
    ) -> None:
        """Waits until `missing` returns None; before, it returns the name of the missing thing.

        The name is printed when it changes, and again every `reminder` seconds. `timeout` and
        `interval` are seconds, too.

        Raises:
            LocalClusterError: The timeout is over.
        """
        begin = time.monotonic()
        shown: str | None = None
        shown_at = begin
        while (name := missing()) is not None:
            now = time.monotonic()
            if now - begin > timeout:
                raise LocalClusterError(f"Gave up after {timeout:.0f} s of waiting for {name}.")
            if name != shown or now - shown_at >= reminder:
                self.say(f"waiting for {name}")
                shown, shown_at = name, now
            time.sleep(interval)
