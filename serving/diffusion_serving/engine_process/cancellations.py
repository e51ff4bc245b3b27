"""Which tickets nobody waits for any more, as a worker hears of it."""

import threading


class Withdrawals:
    """Numbers that were withdrawn, some of them before their ticket came out of the queue.

    The queue keeps its order, so a number that is smaller than one that has come was taken by
    another worker, and is forgotten. Any thread may call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early: set[int] = set()
        self._newest = -1

    def add(self, number: int) -> bool:
        """Notes a withdrawal; False if its ticket has come already."""
        with self._lock:
            if number <= self._newest:
                return False
            self._early.add(number)
            return True

    def take(self, number: int) -> bool:
        """Tells of a ticket that has just come whether it was withdrawn."""
        with self._lock:
            withdrawn = number in self._early
            self._newest = max(self._newest, number)
            self._early = {later for later in self._early if later > self._newest}
            return withdrawn
