"""A small load that goes on while something is done to its target, and what came of it so far."""

import time
from typing import Any

from kubectl import Kubectl, KubectlError, eventually

Object = dict[str, Any]

# Longer than any test takes; the test ends it when it has seen enough.
STEADY: Object = {
    "users": {"stages": [{"users": 2, "duration": "3600s"}], "spawnRate": "2"},
    "think": {"min": "200ms", "max": "600ms"},
}
# What is done to the target takes some time to mend.
MENDED_WITHIN = 180.0
REQUESTS_AFTER = 5


class Load:
    """A running LoadTest."""

    def __init__(self, kubectl: Kubectl, name: str = "ramp") -> None:
        self._kubectl = kubectl
        self._name = name

    def progress(self) -> tuple[int, int]:
        """Requests, and how many of them failed."""
        try:
            found = self._kubectl.status("lt", self._name).get("progress") or {}
        except KubectlError:  # the API server is away
            return 0, 0
        return int(found.get("requests", 0)), int(found.get("failures", 0))

    def goes_on(self, requests: int = REQUESTS_AFTER) -> None:
        """Wait for that many more requests."""
        before, _ = eventually(
            lambda: found if (found := self.progress())[0] else None,
            within=MENDED_WITHIN,
            every=0.5,
            what="load",
        )
        eventually(
            lambda: self.progress()[0] >= before + requests,
            within=MENDED_WITHIN,
            every=0.5,
            what=f"{requests} more requests than {before}",
        )

    def goes_on_for(self, seconds: float) -> None:
        """Wait that long, in which more and more requests are made."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.goes_on()

    def assert_none_failed(self) -> None:
        """It still runs, and each of its requests so far was answered."""
        status = self._kubectl.status("lt", self._name)
        # Not the progress alone: a run that has ended has none.
        assert status["state"] == "Running", status
        assert status["progress"]["failures"] == 0, status
