"""Cancelled requests, as a worker learns of them."""

import threading


class Cancellations:
    """Numbers of cancelled requests, some of which have not come out of the queue yet.

    The queue keeps its order, so a number smaller than one that has come was taken by another
    worker, and is forgotten. Any thread may call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early: set[int] = set()
        self._newest = -1

    def add(self, number: int) -> bool:
        """Records a cancellation; False if its request has come already."""
        with self._lock:
            if number <= self._newest:
                return False
            self._early.add(number)
            return True

    def take(self, number: int) -> bool:
        """Returns whether a request that has just come was cancelled."""
        with self._lock:
            cancelled = number in self._early
            self._newest = max(self._newest, number)
            self._early = {later for later in self._early if later > self._newest}
            return cancelled
