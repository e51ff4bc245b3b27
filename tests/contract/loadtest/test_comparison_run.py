"""The runner's report, through a LoadTest's status, as the run of a Comparison."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from diffusion_loadtest.report.load_report import Report as RunnersReport
from diffusion_operator.api.comparison import Run
from diffusion_operator.comparison.analysis.measurements import ended
from diffusion_operator.documents.load_report import LoadReport
from diffusion_operator.loadtest.status import NO_RUN, Observed, test_status
from load_reports import ramp, search

Object = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"


def comparison_run(document: Object, spec: Object) -> Run:
    """The run of a Comparison whose LoadTest has that report."""
    report = LoadReport.model_validate(document)
    observed = Observed(NO_RUN, "report", has_slo=True, report=report)
    status = test_status({"metadata": {"generation": 1}, "spec": spec}, observed, now=NOW)
    plain = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    begun = Run(variant="a", repetition=1, state="Testing")
    return ended(begun, {"spec": spec, "status": plain}, document, images=1, now=NOW)


@pytest.mark.parametrize(("make_report", "spec"), [(ramp, {"users": {}}), (search, {"search": {}})])
def test_a_comparison_takes_the_figures_of_the_reports_window(
    make_report: Callable[[], Object], spec: Object
) -> None:
    model = RunnersReport.model_validate_json(json.dumps(make_report()))
    document: Object = json.loads(model.model_dump_json(by_alias=True))
    stage = document["summary"] if "search" in spec else document["stages"][-1]
    # A runner without a window has the last stage, ramp included.
    window = document.get("window") or stage
    run = comparison_run(document, spec)
    assert run.requests_per_second is not None
    assert float(run.requests_per_second) == pytest.approx(window["requestsPerSecond"], rel=1e-3)
    assert (run.requests, run.failures) == (window["requests"], window["failures"])
    assert run.p95 == round(window["p95"])
    assert run.tax is not None


def test_a_comparison_takes_the_knee_and_the_load_beyond_it() -> None:
    model = RunnersReport.model_validate_json(json.dumps(search()))
    document: Object = json.loads(model.model_dump_json(by_alias=True))
    run = comparison_run(document, {"search": {}})
    knee = document["search"]["knee"]
    assert float(run.max_load_within_slo or 0) == knee
    assert float(run.load_beyond_slo or 0) == knee + document["search"]["step"]
    none = {**document, "summary": {**document["summary"], "maxUsersWithinSlo": None}}
    none["search"] = {**document["search"], "knee": None}
    least = min(each["level"] for each in document["search"]["curve"] if not each["withinSlo"])
    below = comparison_run(none, {"search": {}})
    assert below.is_below_least
    assert float(below.load_beyond_slo or 0) == least
