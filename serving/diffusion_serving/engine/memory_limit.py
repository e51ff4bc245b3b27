"""The limit that the device's memory sets to one call, learnt from its shortages."""

import math

FIRST_PATIENCE = 32
"""Calls close to the limit that must succeed before a larger one is tried."""
_LONGEST_PATIENCE = 4096


class MemoryLimit:
    """The most pixels of one call. Not by size: seven sizes would each run out of memory anew.

    A shortage halves the limit. The limit grows again with success, because a shortage may pass:
    after some calls close to the limit, twice as much is tried. Each trial that fails doubles the
    number of calls until the next one, so a limit that is true costs less and less.
    """

    def __init__(self) -> None:
        self._limit = math.inf
        self._refused = math.inf
        self._patience = FIRST_PATIENCE
        self._calls = 0

    @property
    def pixels(self) -> float:
        """The most pixels of a call; infinite where memory has never run out."""
        return self._limit

    def images(self, pixels: int) -> float:
        """The most images of so many pixels each in one call; at least one is always tried."""
        return self._limit if math.isinf(self._limit) else max(1.0, self._limit // pixels)

    def refuse(self, pixels: int) -> None:
        """Records that memory ran out in a call of so many pixels."""
        if pixels >= self._refused:  # a trial, and nothing has changed
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
        self._refused = min(self._refused, pixels)
        self._limit = min(self._limit, pixels / 2)
        self._calls = 0

    def admit(self, pixels: int) -> None:
        """Records that a call of so many pixels succeeded."""
        if pixels >= self._refused:  # the shortage has passed
            self._limit = self._refused = math.inf
            self._patience = FIRST_PATIENCE
        elif 2 * pixels > self._limit:
            self._calls += 1
            if self._calls >= self._patience:
                self._limit *= 2
                self._calls = 0
