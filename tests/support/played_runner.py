"""The load runner's part in a LoadTest, which tests without a runner play."""

import json
from datetime import UTC, datetime
from typing import Any

from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service, load_test
from played import make_pods_ready

Object = dict[str, Any]
ANYWHERE: Object = {"targetRef": None, "url": "http://127.0.0.1:1"}
BEGUN_AT, ENDED_AT = "2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z"


def state(kubectl: Kubectl, name: str = "ramp") -> str:
    return str(kubectl.status("lt", name).get("state", ""))


def status_and_reason(kubectl: Kubectl, kind: str, name: str = "ramp") -> tuple[str, str]:
    """The status and the reason of a LoadTest's condition."""
    current = condition(kubectl.get("lt", name), kind)
    return str(current.get("status", "")), str(current.get("reason", ""))


def runner_jobs(kubectl: Kubectl, name: str = "ramp") -> list[Object]:
    return kubectl.list("jobs", f"diffusion.dev/loadtest={name},diffusion.dev/role=runner")


def the_job(kubectl: Kubectl, name: str = "ramp") -> Object | None:
    """The runner's Job, if there is exactly one."""
    jobs = runner_jobs(kubectl, name)
    return jobs[0] if len(jobs) == 1 else None


def run_name(job: Object) -> str:
    return str(job["metadata"]["labels"]["diffusion.dev/run"])


def begun(kubectl: Kubectl, name: str = "ramp", *, after: str = "") -> str:
    """Waits for a run other than ``after`` that has a Job and can report; returns its name."""

    def run() -> str:
        job = the_job(kubectl, name)
        current = run_name(job) if job else after
        can_report = kubectl.find("configmap", f"{name}-loadtest") is not None
        return "" if current == after or not can_report else current

    return eventually(run, what=f"a run of {name}" + (f" after {after}" if after else ""))


def begin(kubectl: Kubectl, name: str = "ramp", **spec: Any) -> str:
    """Starts a LoadTest of a URL, and returns the run of its Job."""
    kubectl.apply(load_test(name, **{**ANYWHERE, **spec}))
    return begun(kubectl, name)


def publish(kubectl: Kubectl, key: str, document: Object, name: str = "ramp") -> None:
    """Writes a document to the runner's ConfigMap."""
    kubectl.patch("configmap", f"{name}-loadtest", {"data": {key: json.dumps(document)}})


def finish(kubectl: Kubectl, run: str, name: str = "ramp", **changes: Any) -> Object:
    """Publishes the run's report, and returns the status once it shows the run's end."""
    publish(kubectl, "report.json", report(run, **changes), name)

    def ended_status() -> Object | None:
        status = kubectl.status("lt", name)
        ended = status.get("run") == run and status.get("state") in {"Complete", "Failed"}
        return status if ended else None

    return eventually(ended_status, what=f"the end of {name}")


def progress(run: str, requests: int, **changes: Any) -> Object:
    return {
        "version": 1,
        "run": run,
        "state": "Running",
        "stage": 1,
        "stages": 1,
        "users": 2,
        "requests": requests,
        "failures": 0,
        "requestsPerSecond": 1.0,
        "elapsedSeconds": 1.0,
        "message": None,
        "phase": "Load",
        "p50": 812.3,
        "p95": 1102.0,
        **changes,
    }


def report(run: str, **changes: Any) -> Object:
    figures = {"requests": 200, "failures": 3, "requestsPerSecond": 8.04, "p50": 120.4}
    figures |= {"p95": 300.0, "p99": 410.6}
    return {
        "version": 1,
        "run": run,
        "startTime": BEGUN_AT,
        "completionTime": ENDED_AT,
        "target": {
            "url": "http://x",
            "about": {"backend": "fastapi", "revision": "r1"},
            "fingerprint": {"backend": "fastapi", "device": "cpu", "torch": "2.12.0"},
        },
        "summary": {
            **figures,
            "failuresByKind": {"HTTP429": 3},
            "peakRequestsPerSecond": 11.0,
            "failuresPerSecond": 0.1,
            "maxUsers": 2,
            "discarded": 4,
        },
        "stages": [{**figures, "users": 2, "durationSeconds": 5.0}],
        "timeline": [],
        "valid": {"status": True, "reason": "Measured", "message": "nothing was in the way"},
        "slo": None,
        "error": None,
        **changes,
    }


def stopped(run: str) -> Object:
    """The report of a runner that a signal stopped."""
    error = {"reason": "Interrupted", "message": "The run was stopped after 3 s of load."}
    return report(run, error=error, valid={"status": False, **error})


def against_demo(kubectl: Kubectl, replicas: int = 1, **spec: Any) -> str:
    """Starts a LoadTest of a Ready DiffusionService; returns its run."""
    kubectl.apply(diffusion_service(replicas=replicas))
    make_pods_ready(kubectl)
    kubectl.apply(load_test(**spec))
    run = begun(kubectl)
    publish(kubectl, "progress.json", progress(run, 1))
    eventually(lambda: state(kubectl) == "Running", what="the load")
    return run


def just_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
