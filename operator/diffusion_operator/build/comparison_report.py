"""The report of a Comparison: one document with all that its page shows and that repeats it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.api.comparison import Run
from diffusion_operator.build.metadata import child
from diffusion_operator.compare.ranking import ALPHA, SMALLEST_EFFECT
from diffusion_operator.compare.record import Report
from diffusion_operator.compare.results import Table
from diffusion_operator.compare.statistics import CONFIDENCE
from diffusion_operator.objects import Object

REPORT_KEY = "report.json"

MOST_POINTS = 6000
"""Points of all timelines together, about 100 bytes each: a ConfigMap holds a mebibyte."""

_OF_A_LOAD = ("stages", "timeline", "search", "slo")


def report_name(comparison: Mapping[str, Any]) -> str:
    """Name of the report's ConfigMap."""
    return f"{comparison['metadata']['name']}-comparison"


def comparison_report(
    comparison: Mapping[str, Any],
    runs: Sequence[Run],
    found: Table,
    reports: Mapping[str, Report],
) -> Object:
    """The ConfigMap; `reports` holds the runner's report of each LoadTest that still has one."""
    meta = comparison["metadata"]
    points = MOST_POINTS // max(1, len(reports))
    document = {
        "version": 1,
        "name": meta["name"],
        "namespace": meta["namespace"],
        "spec": without_prompts(comparison["spec"]),
        "method": {
            "criterion": found.criterion,
            "alpha": ALPHA,
            "smallestEffect": SMALLEST_EFFECT,
            "confidence": CONFIDENCE,
            "test": "Welch's t test of the logarithms, Holm-corrected",
        },
        "recommended": found.recommended,
        "conclusion": found.conclusion,
        "differences": list(found.differences),
        "results": [_plain(row) for row in found.results],
        "runs": [_plain(run) for run in runs],
        "loads": {name: _load(report, points) for name, report in reports.items()},
    }
    text = json.dumps(document, separators=(",", ":"))
    return child(comparison, "v1", "ConfigMap", report_name(comparison), data={REPORT_KEY: text})


def without_prompts(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The Comparison's spec for people other than its author: prompts are private."""
    load = _promptless(spec["loadTest"])
    if "variants" not in spec:
        return {**spec, "loadTest": load}
    variants = [
        {**each, "loadTest": _promptless(each["loadTest"])} if "loadTest" in each else each
        for each in spec["variants"]
    ]
    return {**spec, "loadTest": load, "variants": variants}


def _promptless(load: Mapping[str, Any]) -> dict[str, Any]:
    request = load.get("request") or {}
    inline = (request.get("prompts") or {}).get("inline")
    if inline is None:
        return dict(load)
    said = f"{len(inline)} prompt(s), left out of reports"
    return {**load, "request": {**request, "prompts": {"inline": [said]}}}


def _plain(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def _load(report: Report, points: int) -> dict[str, Any]:
    """What the page draws of one run, its timeline thinned to so many points."""
    found = {part: report[part] for part in _OF_A_LOAD if report.get(part)}
    timeline = found.get("timeline", ())
    if len(timeline) > points:
        found["timeline"] = timeline[:: -(-len(timeline) // points)]
    return found
