"""Reports of Comparisons as the operator writes them, with invented but plausible figures."""

import json
from typing import Any

from diffusion_operator.api.comparison import ColdStart, Run
from diffusion_operator.comparison.analysis.measurements import failed
from diffusion_operator.comparison.analysis.report import REPORT_KEY, comparison_report
from diffusion_operator.comparison.analysis.results import Compared, criterion, table
from load_reports import FINGERPRINT, ramp, search

Object = dict[str, Any]

USERS: Object = {
    "users": {
        "stages": [{"users": users, "duration": "2m"} for users in (10, 20, 30)],
        "spawnRate": "1",
    },
    "request": {"prompts": {"inline": ["a confidential unicorn", "two green squares"]}},
}
SEARCH: Object = {"search": {"over": "users", "max": 64}, "slo": {"p95": "8s"}}
NO_ENERGY = "Prometheus has no sample for the query"
SPEEDS = {"fastapi": 2.7, "litserve": 5.6, "rayserve": 4.3}
TAX = {"queue": 900, "textEncoder": 20, "denoise": 480, "vae": 60, "encode": 12, "other": 31}


def study(load: Object = USERS) -> Object:
    """A report of three backends, three runs each, and of a fourth variant that was never Ready."""
    names = [*SPEEDS, "broken"]
    comparison = {
        "apiVersion": "diffusion.dev/v1alpha1",
        "kind": "Comparison",
        "metadata": {"name": "frameworks", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": {
            "service": {"model": {"source": "image:///models/demo"}},
            "variants": [{"name": name, "service": {"backend": name}} for name in names],
            "loadTest": load,
            "repetitions": 3,
        },
    }
    runs = [_run(name, repetition) for repetition in (1, 2, 3) for name in SPEEDS]
    begun = Run(variant="broken", repetition=1, state="Starting", start_time=_at(30))
    message = "not Ready within 20m: ImagePullFailed: no such tag"
    runs.append(failed(begun, "NotReady", message, now=_at(31)))
    compared = Compared(
        criterion=criterion(load),
        loads=dict.fromkeys(names, load),
        dollars_per_hour={**dict.fromkeys(names, 0.71), "broken": None},
        images=dict.fromkeys(names, 1),
        may_differ={"backend", "nodes"},
    )
    reports = {run.load_test: _load(run, load) for run in runs if run.load_test}
    made = comparison_report(comparison, runs, table(names, runs, compared), reports)
    document: Object = json.loads(made["data"][REPORT_KEY])
    return document


def _load(run: Run, load: Object) -> Object:
    """The runner's report, scaled to the variant's speed."""
    report = (search if "search" in load else ramp)(run.load_test)
    speed = SPEEDS[run.variant] / max(SPEEDS.values())
    for point in (*report["timeline"], *report["stages"]):
        point["requestsPerSecond"] *= speed
        point["p50"] /= speed
        point["p95"] /= speed
    return report


def _at(minute: int) -> str:
    return f"2026-01-02T03:{minute:02d}:00Z"


def _run(name: str, repetition: int) -> Run:
    speed = SPEEDS[name] * (1 + 0.004 * repetition)
    return Run(
        variant=name,
        repetition=repetition,
        state="Complete",
        load_test=f"frameworks-{name}-{repetition}",
        start_time=_at(3 * repetition),
        completion_time=_at(3 * repetition + 2),
        valid=True,
        requests=900,
        failures=0 if name != "fastapi" else 12,
        requests_per_second=f"{speed:.3f}",
        p50=round(9000 / speed) + repetition,
        p95=round(15000 / speed) + repetition,
        p99=round(18000 / speed) + repetition,
        max_load_within_slo="24",
        efficiency=f"{speed / 6:.3f}",
        tax={stage: round(value * 5 / speed) for stage, value in TAX.items()},
        cold_start=ColdStart(
            scheduled=1, started=9, ready=31 + repetition, model_load="12.5", first_images="4"
        ),
        memory_bytes=2_345_678_901,
        unknown={"joulesPerImage": NO_ENERGY},
        nodes=("node-1",),
        fingerprint={**FINGERPRINT, "backend": name},
    )
