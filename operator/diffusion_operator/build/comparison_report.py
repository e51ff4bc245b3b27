"""The report of a Comparison: one document with all that its page shows and that repeats it."""

import json
from collections.abc import Iterator, Mapping, Sequence
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

MOST_BYTES = 900_000

LEFT_OUT = "left out of reports"

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
    }
    for loads in _ever_shorter(runs, reports):
        text = json.dumps({**document, "loads": loads}, separators=(",", ":"))
        if len(text) <= MOST_BYTES:
            break
    return child(comparison, "v1", "ConfigMap", report_name(comparison), data={REPORT_KEY: text})


def _ever_shorter(runs: Sequence[Run], reports: Mapping[str, Report]) -> Iterator[dict[str, Any]]:
    """What the page draws of the loads, from all there is room for as a rule to nothing."""
    points = MOST_POINTS // max(1, len(reports))
    first = {run.load_test for run in runs if run.repetition == 1}
    yield {name: _load(report, points) for name, report in reports.items()}
    yield {name: _load(report, points // 4) for name, report in reports.items()}
    yield {name: _load(report, points) for name, report in reports.items() if name in first}
    yield {}


def without_prompts(spec: Any) -> Any:
    """The Comparison's spec for people other than its author, or a part of it: prompts are private.

    They stand in the loads, in those of variants, and in a rollout's gate.
    """
    if isinstance(spec, Mapping):
        return {name: _told(name, value) for name, value in spec.items()}
    return [without_prompts(each) for each in spec] if isinstance(spec, list) else spec


def _told(name: str, value: Any) -> Any:
    if name == "negativePrompt" and isinstance(value, str):
        return LEFT_OUT
    if name == "prompts" and isinstance(value, Mapping) and isinstance(value.get("inline"), list):
        return {"inline": [f"{len(value['inline'])} prompt(s), {LEFT_OUT}"]}
    return without_prompts(value)


def _plain(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found


def _load(report: Report, points: int) -> dict[str, Any]:
    """What the page draws of one run, its timeline thinned to so many points."""
    found = {part: report[part] for part in _OF_A_LOAD if report.get(part)}
    timeline = found.get("timeline", ())
    if len(timeline) > points:
        found["timeline"] = timeline[:: -(-len(timeline) // max(1, points))]
    return found
