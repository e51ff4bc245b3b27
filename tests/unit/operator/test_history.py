"""History of a LoadTest: its figures are those that the verdicts judge."""

import json
from typing import Any

from diffusion_loadtest.report.load_report import Report as RunnersReport
from diffusion_operator.documents.load_report import LoadReport
from diffusion_operator.loadtest.analysis.history import history
from diffusion_operator.loadtest.analysis.run_identity import Run, RunIdentity
from diffusion_operator.loadtest.status import Observed, test_status
from load_reports import ramp

Object = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"


def ended_status(document: Object) -> Object:
    """The status of a run that ended with that report."""
    model = RunnersReport.model_validate_json(json.dumps(document))
    report = LoadReport.model_validate_json(model.model_dump_json(by_alias=True))
    observed = Observed(Run("r1", RunIdentity("a")), "report", has_slo=True, report=report)
    status = test_status({"metadata": {"generation": 1}, "spec": {}}, observed, now=NOW)
    plain: Object = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return plain


def test_an_entry_has_the_figures_of_the_window_and_not_of_the_whole_run() -> None:
    document = ramp()
    (entry,) = history(ended_status(document), "r2", 5)
    window = document["window"]
    assert window["requests"] != document["summary"]["requests"]
    assert entry.window is not None
    assert (entry.window.requests, entry.window.stage) == (window["requests"], window["stage"])
    assert entry.window.p95 == round(window["p95"])
    assert entry.summary is None


def test_an_entry_of_a_run_without_a_window_has_its_summary() -> None:
    """The runner of an earlier release reports no window."""
    document = ramp()
    status = ended_status(document)
    del status["window"]
    (entry,) = history(status, "r2", 5)
    assert entry.window is None
    assert entry.summary is not None
    assert entry.summary.requests == document["summary"]["requests"]


def test_an_entry_of_an_earlier_release_is_kept_as_it_is() -> None:
    status = ended_status(ramp())
    old = {"run": "r0", "state": "Complete", "summary": status["summary"]}
    entries = history({**status, "history": [old]}, "r2", 5)
    assert [entry.run for entry in entries] == ["r1", "r0"]
    assert entries[1].summary is not None
