"""From what the cluster shows of a repetition to the figures that are kept of it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from diffusion_operator.api.comparison import MAX_TEXT, MOST_NODES, ColdStart, Run
from diffusion_operator.api.fields import shown
from diffusion_operator.compare.meters import images_made
from diffusion_operator.objects import Object, condition_of

Report = Mapping[str, Any]


def moment(text: str) -> datetime:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(text)


def cold_start(service: Mapping[str, Any], pods: Sequence[Object]) -> ColdStart:
    """How long after the service's creation the slowest of its pods was where."""
    made = moment(service["metadata"]["creationTimestamp"])

    def latest(times: Sequence[str | None]) -> int | None:
        known = [moment(time) for time in times if time]
        return max(0, round((max(known) - made).total_seconds())) if known else None

    return ColdStart(
        scheduled=latest([_since(pod, "PodScheduled") for pod in pods]),
        started=latest([_started(pod) for pod in pods]),
        ready=latest([_since(pod, "Ready") for pod in pods]),
    )


def _since(pod: Object, kind: str) -> str | None:
    found = condition_of(pod, kind)
    return found.get("lastTransitionTime") if found and found["status"] == "True" else None


def _started(pod: Object) -> str | None:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    times = [
        ((status.get("state") or {}).get("running") or {}).get("startedAt") for status in statuses
    ]
    return max((time for time in times if time), default=None)


def nodes_of(pods: Sequence[Object]) -> tuple[str, ...]:
    """The nodes that the pods run on, or the first of them where there are very many."""
    names = {pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"]}
    return tuple(sorted(names)[:MOST_NODES])


def waiting(run: Run, why: str) -> Run:
    """The run, saying what it waits for; another resource's words may be long."""
    return run.model_copy(update={"message": why[:MAX_TEXT]})


def failed(run: Run, reason: str, message: str, *, now: str) -> Run:
    """The run, ended without figures."""
    return run.model_copy(
        update={
            "state": "Failed",
            "reason": reason,
            "message": message[:MAX_TEXT],
            "completion_time": now,
        }
    )


def ended(run: Run, test: Mapping[str, Any], report: Report, *, images: int, now: str) -> Run:
    """The run with what its LoadTest found.

    `report` is the runner's whole report, empty where it is gone; `images` are those of a request.
    """
    status = test["status"]
    summary = status.get("summary") or {}
    valid, slo = condition_of(test, "Valid"), condition_of(test, "SLOMet")
    bad = condition_of(test, "Failed") if status["state"] == "Failed" else _if_false(valid)
    about = (report.get("target") or {}).get("about") or {}
    after = (report.get("target") or {}).get("aboutAfter") or {}
    made = images_made(report, images)
    return run.model_copy(
        update={
            "state": status["state"],
            "reason": bad["reason"] if bad else "",
            "message": bad["message"] if bad else "",
            "completion_time": now,
            "valid": None if valid is None else valid["status"] == "True",
            "slo_met": None if slo is None else slo["status"] == "True",
            "requests": summary.get("requests"),
            "failures": summary.get("failures"),
            "requests_per_second": summary.get("requestsPerSecond"),
            "p50": summary.get("p50"),
            "p95": summary.get("p95"),
            "p99": summary.get("p99"),
            "max_load_within_slo": _capacity(status),
            "load_beyond_slo": _too_much(report),
            "efficiency": _efficiency(status, about, images),
            "tax": _tax(report),
            "cold_start": _with_startup(run.cold_start, about),
            "fingerprint": _fingerprint(run, status),
            **_usage(about, after, made, _replicas(status)),
        }
    )


def _if_false(condition: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return condition if condition is not None and condition["status"] == "False" else None


def _capacity(status: Mapping[str, Any]) -> str | None:
    found = status.get("maxUsersWithinSLO") or status.get("maxRateWithinSLO")
    return None if found is None else str(found)


def _too_much(report: Report) -> str | None:
    """The load one step of the search above its knee; None without a search, or at its max."""
    search = report.get("search") or {}
    found = bool(search.get("knee") and search.get("step"))
    return shown(search["knee"] + search["step"]) if found else None


def _replicas(status: Mapping[str, Any]) -> int:
    fingerprint = (status.get("target") or {}).get("fingerprint") or {}
    return int(fingerprint.get("replicas") or 1)


_WORK = {
    "steps": "steps",
    "width": "width",
    "height": "height",
    "guidanceScale": "guidance_scale",
}
"""What decides how much an image costs: facts of a fingerprint, and /about's defaults."""


def _efficiency(status: Mapping[str, Any], about: Mapping[str, Any], images: int) -> str | None:
    """Images per second over the best of the bare pipeline on the same pods.

    None if that was not timed, or with other work than the load asked for.
    """
    timed = about.get("bare_pipeline") or ()
    best = max((call["images"] / call["seconds"] for call in timed if call["seconds"]), default=0.0)
    speed = (status.get("summary") or {}).get("requestsPerSecond")
    if not best or speed is None or not _same_work(status, about):
        return None
    return shown(float(speed) * images / (best * _replicas(status)))


def _same_work(status: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    fingerprint = (status.get("target") or {}).get("fingerprint") or {}
    asked, timed = fingerprint.get("facts") or {}, about.get("generation") or {}
    return all(
        float(asked[fact]) == float(timed[default])
        for fact, default in _WORK.items()
        if fact in asked and default in timed
    )


def _tax(report: Report) -> dict[str, int] | None:
    timings = (report.get("summary") or {}).get("timings") or {}
    return {stage: round(found["mean"]) for stage, found in timings.items()} or None


def _with_startup(start: ColdStart | None, about: Mapping[str, Any]) -> ColdStart | None:
    startup = about.get("startup") or {}
    if start is None or not startup:
        return start
    return start.model_copy(
        update={
            "model_load": shown(startup["load_seconds"]),
            "first_images": shown(startup["warm_up_seconds"]),
        }
    )


def _usage(
    about: Mapping[str, Any], after: Mapping[str, Any], images: int, pods: int
) -> dict[str, Any]:
    """Memory, GPU and energy of the pod that was asked; what it doesn't know stays unknown.

    Of several pods one was asked before and maybe another one after, and each tells of itself.
    """
    before, usage = about.get("usage") or {}, after.get("usage") or {}
    spent = _grown(before, usage, "energy_joules") if pods == 1 else None
    busy = _grown(before, usage, "device_busy_seconds") if pods == 1 else None
    seconds = (_grown(about, after, "uptime_seconds") or 0.0) * after.get("devices", 1)
    return {
        "memory_bytes": usage.get("memory_peak_bytes"),
        "device_memory_bytes": usage.get("device_memory_peak_bytes"),
        "gpu_utilisation": shown(busy / seconds) if busy is not None and seconds else None,
        "joules_per_image": shown(spent / images) if spent is not None and images else None,
    }


def _grown(before: Mapping[str, Any], after: Mapping[str, Any], field: str) -> float | None:
    """By how much a counter has grown; None where it isn't known at both times."""
    begun, over = before.get(field), after.get(field)
    return None if begun is None or over is None else over - begun


def _fingerprint(run: Run, status: Mapping[str, Any]) -> dict[str, str] | None:
    found = (status.get("target") or {}).get("fingerprint")
    if found is None:
        return None
    facts = {key: str(value)[:256] for key, value in (found.get("facts") or {}).items()}
    facts["image"] = found.get("image", "")
    facts["replicas"] = str(found.get("replicas", ""))
    facts["nodes"] = ", ".join(run.nodes or ())[:256]
    return facts


def report_in(config_map: Mapping[str, Any] | None, key: str) -> Report:
    """The runner's report in its ConfigMap; empty where there is none."""
    text = ((config_map or {}).get("data") or {}).get(key)
    found: Report = json.loads(text) if text else {}
    return found
