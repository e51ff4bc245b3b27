"""Progress for people on stderr; stdout is left to results that scripts read."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from localcluster.errors import LocalClusterError


class Progress:
    """Prints lines that begin with the seconds since it was made."""

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
        """Wait until `missing` returns None; until then it returns what is still waited for.

        `timeout`, `interval` and `reminder` are seconds; what is missing is printed when it
        changes and again every `reminder` seconds. Raises LocalClusterError at the timeout.
        """
        begin = time.monotonic()
        shown: str | None = None
        shown_at = begin
        while (what := missing()) is not None:
            now = time.monotonic()
            if now - begin > timeout:
                raise LocalClusterError(f"Gave up after {timeout:.0f} s of waiting for {what}.")
            if what != shown or now - shown_at >= reminder:
                self.say(f"waiting for {what}")
                shown, shown_at = what, now
            time.sleep(interval)
