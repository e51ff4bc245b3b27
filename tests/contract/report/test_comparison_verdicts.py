"""The verdicts of a Comparison on its page and in its tables, from the operator's own document."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from comparison_reports import study
from kubectl_diffusion.__main__ import main
from kubectl_diffusion.documents.comparison_report import ComparisonReport, Result
from kubectl_diffusion.report.comparison.page import load_within_slo, slo

Object = dict[str, Any]


def rendered(report: Object, tmp_path: Path, form: str) -> str:
    source, output = tmp_path / "report.json", tmp_path / f"report.{form}"
    source.write_text(json.dumps(report))
    assert main(["report", str(source), "--format", form, "-o", str(output)]) == 0
    return output.read_text()


def test_the_page_shows_the_design_and_the_rules_of_the_verdict(tmp_path: Path) -> None:
    page = rendered(study(), tmp_path, "html")
    assert "3 rounds of 4 variants find a lead over all others in 80% of studies" in page
    assert "every second round reverses the one before it" in page
    assert "too many failed requests" in page
    assert "Holm" not in page


def test_a_repeated_run_shows_its_attempt(tmp_path: Path) -> None:
    report = study()
    report["runs"][0] |= {"attempt": 2}
    assert "1, attempt 2" in rendered(report, tmp_path, "html")


def test_the_variant_beyond_the_limit_of_failures_is_the_last_of_the_ranked() -> None:
    """FastAPI fails 12 of 900 requests in each round: 1.33 %, above the default of 1 %."""
    read = ComparisonReport.model_validate(study())
    (fastapi,) = [row for row in read.results if row.variant == "fastapi"]
    assert fastapi.failure_ratio == pytest.approx(12 / 900, rel=1e-3)
    assert fastapi.rank == 3


def test_csv_has_the_figures_of_the_verdict(tmp_path: Path) -> None:
    rows = list(csv.DictReader(rendered(study(), tmp_path, "csv").splitlines()))
    assert {row["variant"]: row["failure_ratio"] for row in rows}["fastapi"] == "0.01333"
    assert [row["slo_met_runs"] for row in rows] == ["3", "3", "0", ""]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "-"),
        ({"sloMet": True, "sloMetRuns": 4}, "met (4 of 5)"),
        ({"sloMet": False, "sloMetRuns": 1}, "missed (1 of 5)"),
        ({"sloMet": True}, "met"),
    ],
)
def test_the_slo_is_shown_with_its_rounds(fields: Object, text: str) -> None:
    assert slo(Result.model_validate({"variant": "a", "runs": 5, **fields})) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"maxLoadWithinSLO": {"mean": "20"}}, "20"),
        ({"belowLeastRuns": 5}, "below the least in 5 of 5"),
        ({"maxLoadWithinSLO": {"mean": "9"}, "belowLeastRuns": 2}, "9, below the least in 2 of 5"),
    ],
)
def test_a_search_without_a_knee_is_below_its_least_load(fields: Object, text: str) -> None:
    assert load_within_slo(Result.model_validate({"variant": "a", "runs": 5, **fields})) == text


def test_a_report_of_the_previous_release_still_makes_a_page(tmp_path: Path) -> None:
    report = study()
    del report["design"]
    for row in report["results"]:
        for field in ("failureRatio", "sloMetRuns", "belowLeastRuns"):
            row.pop(field, None)
    for run in report["runs"]:
        del run["attempt"]
    page = rendered(report, tmp_path, "html")
    assert "in 3 rounds" in page
    assert "as it was known before the first run" not in page
