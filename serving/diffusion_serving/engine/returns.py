"""Decides whether a step waits a moment for clients that are about to come back."""

_LONGEST = 0.08
"""The longest wait, as a share of a step's seconds."""
_LONGEST_CHECK = 0.12
"""The longest check of pictures that is waited for, too, as a share of a step's seconds."""
_RECENT = 0.1
"""The weight of the last finish in the moving average."""


class Returns:
    """The share of finished images whose clients ask for the next image at once.

    Clients of a closed loop come back some milliseconds after their image, just too late for the
    next step, and wait for all of it. Where the past shows that they come, the next step waits for
    them, at most a small share of a step.
    """

    def __init__(self) -> None:
        self._share = 1.0
        self._finished = 0
        self._since = 0.0
        self._window = 0.0
        self._returned = 0

    def finish(
        self, images: int, now: float, step_seconds: float, check_seconds: float = 0.0
    ) -> None:
        """Records that so many images are finished, and that the next step takes so long.

        Their clients get them after a check of so many seconds. A long check isn't waited for: the
        steps of others would wait for it, too.
        """
        self._close()
        check = check_seconds if check_seconds <= _LONGEST_CHECK * step_seconds else 0.0
        self._finished, self._returned = images, 0
        self._since, self._window = now, _LONGEST * step_seconds + check

    def arrive(self, images: int, now: float) -> None:
        """Records new images."""
        if now <= self._since + self._window:
            self._returned += images

    def wait_until(self, ready: int, room: int, step_seconds: float) -> float:
        """Returns the time until which the next step waits; a time in the past if it doesn't.

        Args:
            ready: images that could begin their next step now.
            room: images that the step could take besides.
            step_seconds: the seconds of the step, which a newcomer would wait if it came late.

        """
        expected = min(self._share * self._finished - self._returned, room)
        pays = expected * step_seconds > self._window * ready and expected > 0
        return self._since + self._window if pays else 0.0

    def _close(self) -> None:
        """Learns from the last finish how many came back."""
        if self._finished:
            share = min(1.0, self._returned / self._finished)
            self._share += _RECENT * (share - self._share)
