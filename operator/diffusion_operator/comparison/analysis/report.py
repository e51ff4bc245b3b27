"""Report of a Comparison: one document with all that its page shows and that repeats the study."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from diffusion_operator.api.comparison import Run
from diffusion_operator.comparison.analysis.design import design
from diffusion_operator.comparison.analysis.measurements import Report
from diffusion_operator.comparison.analysis.results import Table
from diffusion_operator.comparison.analysis.separation import SMALLEST_EFFECT
from diffusion_operator.comparison.analysis.statistics import CONFIDENCE
from diffusion_operator.comparison.analysis.timeline import thinned
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object

REPORT_KEY = "report.json"

MOST_POINTS = 6000
"""Limit of points of all timelines: about 100 bytes each, in a ConfigMap of one mebibyte."""

MOST_BYTES = 900_000

LEFT_OUT = "left out of reports"

_OF_A_LOAD = ("stages", "timeline", "search", "slo")


def report_name(comparison: Mapping[str, Any]) -> str:
    """Name of the report's ConfigMap."""
    return f"{comparison['metadata']['name']}-comparison"


def comparison_report(
    comparison: Mapping[str, Any],
    runs: Sequence[Run],
    result: Table,
    reports: Mapping[str, Report],
) -> Object:
    """ConfigMap of the report; `reports` holds the runner's report of each existing LoadTest."""
    meta = comparison["metadata"]
    document = {
        "version": 1,
        "name": meta["name"],
        "namespace": meta["namespace"],
        "spec": without_prompts(comparison["spec"]),
        "method": {
            "criterion": result.criterion,
            "alpha": result.alpha,
            "smallestEffect": SMALLEST_EFFECT,
            "confidence": CONFIDENCE,
            "test": result.method,
        },
        "design": _plain(
            design(
                max(1, len(result.results)),
                max((run.repetition for run in runs), default=1),
            )
        ),
        "recommended": result.recommended,
        "conclusion": result.conclusion,
        "differences": list(result.differences),
        "results": [_plain(row) for row in result.results],
        "runs": [_plain(run) for run in runs],
    }
    for loads in _ever_shorter(runs, reports):
        text = json.dumps({**document, "loads": loads}, separators=(",", ":"))
        if len(text) <= MOST_BYTES:
            break
    return child(comparison, "ConfigMap", report_name(comparison), data={REPORT_KEY: text})


def _ever_shorter(runs: Sequence[Run], reports: Mapping[str, Report]) -> Iterator[dict[str, Any]]:
    """Ever shorter versions of the loads' data, from complete to empty."""
    points = MOST_POINTS // max(1, len(reports))
    first = {run.load_test for run in runs if run.repetition == 1}
    yield {name: _load(report, points) for name, report in reports.items()}
    yield {name: _load(report, points // 4) for name, report in reports.items()}
    yield {name: _load(report, points) for name, report in reports.items() if name in first}
    yield {}


def without_prompts(spec: Any) -> Any:
    """Copy of the spec, or a part of it, without prompts, which are private.

    Prompts stand in the loads, in those of variants, and in a rollout's gate.
    """
    if isinstance(spec, Mapping):
        return {name: _redacted(name, value) for name, value in spec.items()}
    return [without_prompts(each) for each in spec] if isinstance(spec, list) else spec


def _redacted(name: str, value: Any) -> Any:
    if name == "negativePrompt" and isinstance(value, str):
        return LEFT_OUT
    if name == "prompts" and isinstance(value, Mapping) and isinstance(value.get("inline"), list):
        return {"inline": [f"{len(value['inline'])} prompt(s), {LEFT_OUT}"]}
    return without_prompts(value)


def _plain(model: Any) -> dict[str, Any]:
    fields: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return fields


def _load(report: Report, points: int) -> dict[str, Any]:
    """Data of one run for the page, its timeline thinned to that many points."""
    parts = {part: report[part] for part in _OF_A_LOAD if report.get(part)}
    if "timeline" in parts:
        parts["timeline"] = thinned(parts["timeline"], points)
    return parts
