"""A small load on a target that a test disturbs, and the failures so far."""

import time
from typing import Any

from kubectl import Kubectl, KubectlError, eventually

Object = dict[str, Any]

# The load is longer than any test, which ends it.
STEADY: Object = {
    "users": {"stages": [{"users": 2, "duration": "3600s"}], "spawnRate": "2"},
    "think": {"min": "200ms", "max": "600ms"},
}
# Seconds in which a target recovers from a disturbance.
RECOVERED_WITHIN = 180.0
REQUESTS_AFTER = 5


class Load:
    """A running LoadTest."""

    def __init__(self, kubectl: Kubectl, name: str = "ramp") -> None:
        self._kubectl = kubectl
        self._name = name

    def progress(self) -> tuple[int, int]:
        """The requests so far, and the failed ones."""
        try:
            document = self._kubectl.status("lt", self._name).get("progress") or {}
        except KubectlError:  # the API server does not respond
            return 0, 0
        return int(document.get("requests", 0)), int(document.get("failures", 0))

    def goes_on(self, requests: int = REQUESTS_AFTER) -> None:
        """Waits for that many more requests."""
        before, _ = eventually(
            lambda: counts if (counts := self.progress())[0] else None,
            within=RECOVERED_WITHIN,
            every=0.5,
            what="load",
        )
        eventually(
            lambda: self.progress()[0] >= before + requests,
            within=RECOVERED_WITHIN,
            every=0.5,
            what=f"{requests} more requests than {before}",
        )

    def goes_on_for(self, seconds: float) -> None:
        """Waits that long, while the load continues."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.goes_on()

    def assert_none_failed(self) -> None:
        """Asserts that the load test still runs, without a failed request."""
        status = self._kubectl.status("lt", self._name)
        # The progress alone isn't enough: a run that has ended has none.
        assert status["state"] == "Running", status
        assert status["progress"]["failures"] == 0, self._evidence()

    def _evidence(self) -> str:
        """Events and logs that say which requests failed, and what happened then."""
        pods = [pod["metadata"]["name"] for pod in self._kubectl.list("pods")]
        commands = (
            ("get", "pods", "-o", "wide"),
            ("get", "events", "--sort-by=.metadata.creationTimestamp"),
            *(("logs", pod, "--all-containers", "--tail=40") for pod in pods),
        )
        return "\n".join(f"== {' '.join(each)}\n{self._printed(*each)}" for each in commands)

    def _printed(self, *command: str) -> str:
        try:
            return self._kubectl(*command)
        except KubectlError as error:
            return str(error)
