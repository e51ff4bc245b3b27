"""The kubelet's and the runners' part in a Comparison, which tests without them play."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from kubectl import Kubectl, NotFoundError, eventually
from manifests import API_VERSION
from played_runner import report

Object = dict[str, Any]
FIELD = "diffusion.dev/"

LOAD: Object = {"users": {"stages": [{"users": 2, "duration": "5s"}]}}
SERVICE: Object = {
    "backend": "fastapi",
    "model": {"source": "image:///models/demo"},
    "generation": {"steps": 4, "scheduler": "ddim"},
}
TWO: list[Object] = [
    {"name": "slow", "service": {"batching": {"mode": "none"}}},
    {"name": "fast", "service": {"batching": {"mode": "engine"}}},
]
SPEEDS = {"fast": 8.0, "slow": 5.0}


def comparison(name: str = "study", **spec: Any) -> Object:
    """A Comparison of two variants, one run each, without a pause between them."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Comparison",
        "metadata": {"name": name},
        "spec": {
            "service": SERVICE,
            "variants": TWO,
            "loadTest": LOAD,
            "repetitions": 1,
            "cooldown": "0s",
            **spec,
        },
    }


class PlayedStudy:
    """Starts and ends pods, and writes a report for each runner's Job.

    ``speeds`` has each variant's requests per second; a variant without a speed never gets Ready.
    Every request of the variants in ``failing`` fails. While ``silent`` is set, no runner reports.
    ``services`` records each set of services that had pods at the same time. ``order`` records the
    load tests in the order of their reports, and ``served`` the uids of the pods during each.
    """

    def __init__(
        self,
        kubectl: Kubectl,
        speeds: Mapping[str, float],
        failing: frozenset[str] = frozenset(),
        *,
        silent: bool = False,
    ) -> None:
        self._kubectl = kubectl
        self._speeds = speeds
        self._failing = failing
        self.silent = silent
        self._reported: set[str] = set()
        self.services: set[frozenset[str]] = set()
        self.order: list[str] = []
        self.served: list[frozenset[str]] = []

    def until(self, done: Callable[[Object], bool], what: str) -> Object:
        """Plays on until ``done`` holds for the Comparison's status; returns that status."""

        def look() -> Object | None:
            status = self._kubectl.status("cmp", "study")
            if done(status):
                return status
            self._play()
            return None

        return eventually(look, within=180, what=what)

    def until_over(self) -> Object:
        return self.until(lambda status: status.get("state") in {"Complete", "Failed"}, "its end")

    def _play(self) -> None:
        pods = self._kubectl.list("pods")
        serving = [pod for pod in pods if f"{FIELD}service" in pod["metadata"]["labels"]]
        names = frozenset(pod["metadata"]["labels"][f"{FIELD}service"] for pod in serving)
        if names:
            self.services.add(names)
        for pod in pods:
            self._play_kubelet(pod)
        for job in [] if self.silent else self._kubectl.list("jobs"):
            begins = job["metadata"]["uid"] not in self._reported
            if begins and self._play_runner(job):
                self.served.append(frozenset(pod["metadata"]["uid"] for pod in serving))

    def _play_kubelet(self, pod: Object) -> None:
        name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
        if "deletionTimestamp" in pod["metadata"]:
            with suppress(NotFoundError):
                self._kubectl.delete("pod", name, now=True, wait=False)
            return
        service = labels.get(f"{FIELD}service", "")
        answers = any(service == f"study-{variant}" for variant in self._speeds)
        if not answers or "Ready" in {c["type"] for c in pod["status"].get("conditions", ())}:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("Ready", "PodScheduled")
        ]
        container = {
            "name": "server",
            "image": "fastapi:none",
            "imageID": "fastapi@sha256:0",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": now}},
        }
        status = {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}
        self._kubectl.patch("pod", name, {"status": status}, "--subresource=status")

    def _play_runner(self, job: Object) -> bool:
        """Publishes the run's report; False if its LoadTest has just been deleted."""
        test = job["metadata"]["labels"][f"{FIELD}loadtest"]
        variant = test.removeprefix("study-").rpartition("-")[0]
        run = job["metadata"]["labels"][f"{FIELD}run"]
        document = failed_report(run) if variant in self._failing else self._report(run, variant)
        data = {"data": {"report.json": json.dumps(document)}}
        try:
            self._kubectl.patch("configmap", f"{test}-loadtest", data)
        except NotFoundError:
            return False
        self._reported.add(job["metadata"]["uid"])
        self.order.append(test.removeprefix("study-"))
        return True

    def _report(self, run: str, variant: str) -> Object:
        # Figures differ a little between runs, as measured ones do.
        speed = self._speeds[variant] * (1 + 0.002 * (len(self.order) % 3))
        document = report(run)
        figures = {"requestsPerSecond": speed, "failures": 0}
        document["summary"] |= {
            **figures,
            "failuresByKind": {},
            "timings": {"queue": {"mean": 9.6, "p50": 9.0, "p95": 12.0}},
        }
        document["stages"][-1] |= figures
        document["target"]["about"] = {
            "backend": "fastapi",
            "startup": {"load_seconds": 3.25, "warm_up_seconds": 1.5},
            "bare_pipeline": [{"images": 1, "seconds": 0.2}, {"images": 8, "seconds": 0.8}],
        }
        usage = {"memory_peak_bytes": 2_000_000_000}
        document["target"]["aboutAfter"] = {**document["target"]["about"], "usage": usage}
        return document


def failed_report(run: str) -> Object:
    """The runner's report of a target that failed every request."""
    error = {"reason": "AllRequestsFailed", "message": "every request failed: 200 HTTP500"}
    nothing = {"requestsPerSecond": 0.0, "p50": None, "p95": None, "p99": None}
    document = report(run, error=error, valid={"status": False, **error})
    document["summary"] |= {**nothing, "failures": 200, "failuresByKind": {"HTTP500": 200}}
    document["stages"] = []
    return document
