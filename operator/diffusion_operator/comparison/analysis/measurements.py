"""Measurements of a repetition: the figures kept from its LoadTest, pods and report."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from diffusion_operator.api.comparison import MAX_TEXT, MOST_NODES, ColdStart, Run
from diffusion_operator.api.fields import shown
from diffusion_operator.api.observed import (
    ObservedCondition,
    ObservedFigures,
    ObservedLoadTest,
    ObservedStage,
)
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.analysis.prometheus_queries import images_made
from diffusion_operator.kube.conditions import condition_of
from diffusion_operator.kube.objects import Object

Report = Mapping[str, Any]


def moment(text: str) -> datetime:
    """Parse a Kubernetes timestamp."""
    return datetime.fromisoformat(text)


def cold_start(service: Mapping[str, Any], pods: Sequence[Object]) -> ColdStart:
    """Cold start: seconds from the service's creation until its slowest pod reached each phase."""
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
    condition = condition_of(pod, kind)
    return condition.last_transition_time if condition and condition.is_true else None


def _started(pod: Object) -> str | None:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    times = [
        ((status.get("state") or {}).get("running") or {}).get("startedAt") for status in statuses
    ]
    return max((time for time in times if time), default=None)


def nodes_of(pods: Sequence[Object]) -> tuple[str, ...]:
    """Nodes of the pods, the first of them where there are very many."""
    names = {pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"]}
    return tuple(sorted(names)[:MOST_NODES])


def waiting(run: Run, why: str) -> Run:
    """Copy of the run with the reason for its wait, truncated."""
    return run.model_copy(update={"message": why[:MAX_TEXT]})


def failed(run: Run, reason: str, message: str, *, now: str) -> Run:
    """Copy of the run that failed without figures."""
    return run.model_copy(
        update={
            "state": RunState.FAILED,
            "reason": reason,
            "message": message[:MAX_TEXT],
            "completion_time": now,
        }
    )


def ended(run: Run, test: Mapping[str, Any], report: Report, *, images: int, now: str) -> Run:
    """Copy of the run with the figures of its LoadTest.

    `report` is the runner's report, empty where it is gone; `images` is the number per request.
    """
    status = ObservedLoadTest.of(test)
    searches = "search" in (test.get("spec") or {})
    figures = _window(status, searches=searches)
    valid = status.condition("Valid")
    bad = status.condition("Failed") if status.state is RunState.FAILED else _if_false(valid)
    about = (report.get("target") or {}).get("about") or {}
    after = (report.get("target") or {}).get("aboutAfter") or {}
    made = images_made(report, images)
    doubt = _unconfirmed(report) if valid is not None and valid.is_true else None
    bad = bad or doubt
    return run.model_copy(
        update={
            "state": status.state,
            "reason": bad.reason if bad else "",
            "message": bad.message if bad else "",
            "completion_time": now,
            "valid": None
            if valid is None or valid.status == "Unknown"
            else valid.is_true and not doubt,
            "slo_met": _slo_met(status, figures, report),
            "measured_seconds": _measured_seconds(report),
            "requests": figures.requests,
            "failures": figures.failures,
            "requests_per_second": figures.requests_per_second,
            "p50": figures.p50,
            "p95": figures.p95,
            "p99": figures.p99,
            "max_load_within_slo": _capacity(status),
            "load_beyond_slo": _too_much(report),
            "efficiency": _efficiency(status, figures, about, images),
            "tax": _tax(report, searches=searches),
            "cold_start": _with_startup(run.cold_start, about),
            "fingerprint": _fingerprint(run, status),
            **_usage(about, after, made, _replicas(status)),
        }
    )


def _window(status: ObservedLoadTest, *, searches: bool) -> ObservedFigures:
    """Figures by which variants are compared: those of the LoadTest's window.

    The window is the last stage after its ramp and settling; the earlier stages are a ramp, in
    which a fast and a slow variant serve the same load. The status of an older version has the last
    stage with its ramp, or its summary only; a search's summary is that of its knee.
    """
    if status.window is not None:
        return status.window
    return status.summary if searches or not status.stages else status.stages[-1]


def _slo_met(status: ObservedLoadTest, figures: ObservedFigures, report: Report) -> bool | None:
    """Verdict on the objective for these figures, else for the whole run.

    A variant that does not sustain the rate of an open loop misses every objective: its latency
    grows for as long as the load lasts.
    """
    if (report.get("window") or {}).get("overload"):
        return False
    slo = status.condition("SLOMet")
    if slo is None or status.state is RunState.FAILED:
        return None if slo is None else slo.is_true
    if slo.is_false and slo.reason != "BeyondSLO":
        return False
    within = figures.within_slo if isinstance(figures, ObservedStage) else None
    return slo.is_true if within is None else within


def _unconfirmed(report: Report) -> ObservedCondition | None:
    """Doubt about a knee that held in one probe only: the search had no probe left."""
    search = report.get("search") or {}
    if not search.get("knee") or search.get("confirmed", True):
        return None
    message = "its search used up its probes before a load held twice: bring min and max together"
    return ObservedCondition(
        type="Valid", status="False", reason="KneeNotConfirmed", message=message
    )


def _if_false(condition: ObservedCondition | None) -> ObservedCondition | None:
    return condition if condition is not None and condition.is_false else None


def _capacity(status: ObservedLoadTest) -> str | None:
    load = status.max_users_within_slo or status.max_rate_within_slo
    return None if load is None else str(load)


def _too_much(report: Report) -> str | None:
    """Lowest load beyond the objectives of a search; None without a search, or at its maximum."""
    search = report.get("search") or {}
    if search.get("knee"):
        return shown(search["knee"] + search["step"]) if search.get("step") else None
    beyond = [
        each["level"] for each in search.get("curve") or () if not each.get("withinSlo", True)
    ]
    return shown(min(beyond)) if beyond else None


def _replicas(status: ObservedLoadTest) -> int:
    fingerprint = status.target.fingerprint
    return (fingerprint.replicas if fingerprint else None) or 1


_WORK = {
    "steps": "steps",
    "width": "width",
    "height": "height",
    "guidanceScale": "guidance_scale",
}
"""Facts that decide the cost of an image: fingerprint's name, and /about's default."""


def _efficiency(
    status: ObservedLoadTest, figures: ObservedFigures, about: Mapping[str, Any], images: int
) -> str | None:
    """Efficiency: images per second over the bare pipeline's best on the same pods.

    None where no bare pipeline was timed, or one with other work than the load's.
    """
    timed = about.get("bare_pipeline") or ()
    best = max((call["images"] / call["seconds"] for call in timed if call["seconds"]), default=0.0)
    speed = figures.requests_per_second
    if not best or speed is None or not _same_work(status, about):
        return None
    return shown(float(speed) * images / (best * _replicas(status)))


def _same_work(status: ObservedLoadTest, about: Mapping[str, Any]) -> bool:
    fingerprint = status.target.fingerprint
    requested, timed = fingerprint.facts if fingerprint else {}, about.get("generation") or {}
    return all(
        float(requested[fact]) == float(timed[default])
        for fact, default in _WORK.items()
        if fact in requested and default in timed
    )


def _tax(report: Report, *, searches: bool) -> dict[str, int] | None:
    """Mean milliseconds of a request by part, of the compared figures."""
    last = [] if searches else list(report.get("stages") or ())[-1:]
    for figures in (report.get("window") or {}, *last):
        if means := figures.get("timings"):
            return {part: round(mean) for part, mean in means.items()}
    timings = (report.get("summary") or {}).get("timings") or {}
    return {stage: round(timing["mean"]) for stage, timing in timings.items()} or None


def _measured_seconds(report: Report) -> str | None:
    seconds = (report.get("window") or {}).get("measuredSeconds")
    return None if seconds is None else shown(seconds)


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
    """Memory, GPU and energy figures of the pod that answered.

    Of several pods, one may answer before the run and another one after it, and each reports itself
    only.
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
    """Increase of a counter; None where one value is unknown."""
    begun, over = before.get(field), after.get(field)
    return None if begun is None or over is None else over - begun


def _fingerprint(run: Run, status: ObservedLoadTest) -> dict[str, str] | None:
    fingerprint = status.target.fingerprint
    if fingerprint is None:
        return None
    facts = {key: str(value)[:256] for key, value in fingerprint.facts.items()}
    facts["image"] = fingerprint.image
    facts["replicas"] = "" if fingerprint.replicas is None else str(fingerprint.replicas)
    facts["nodes"] = ", ".join(run.nodes or ())[:256]
    return facts


def report_in(config_map: Mapping[str, Any] | None, key: str) -> Report:
    """Runner's report in its ConfigMap; empty where there is none."""
    text = ((config_map or {}).get("data") or {}).get(key)
    report: Report = json.loads(text) if text else {}
    return report
