"""A stop for stand-ins that another thread calls, so that a test decides when they go on."""

import threading

WAIT_SECONDS = 30.0


class Held:
    """A stand-in that `hold()` stops until `release()`; `entered` counts its calls."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        """The threads that called."""
        self.entered = threading.Semaphore(0)
        self._free = threading.Event()
        self._free.set()

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def _enter(self) -> None:
        """Counts a call, which waits here while it is held."""
        self.threads.add(threading.get_ident())
        self.entered.release()
        assert self._free.wait(WAIT_SECONDS)
