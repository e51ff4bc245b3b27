"""Tiles of a load test's page: each says which part of the run its figure is of."""

from typing import Any

import pytest

from kubectl_diffusion.documents.load_report import Report
from kubectl_diffusion.report.loadtest.page import main_figures
from load_reports import ramp

Object = dict[str, Any]


def notes(document: Object) -> dict[str, str]:
    return {name: note for name, _, note in main_figures(Report.model_validate(document))}


def test_a_tile_of_a_staged_ramp_names_its_stage() -> None:
    document = ramp()
    window = document["window"]
    place = f"stage {window['stage']}: {window['users']} users"
    shown = notes(document)
    assert place in shown["Requests per second"]
    assert place in shown["Failures"]
    assert place in shown["Median"]
    assert place in shown["95th percentile"]
    assert "in the whole run" in shown["Most users"]


def test_a_latency_has_its_interval_and_its_draws() -> None:
    document = ramp()
    interval = document["window"]["intervals"]["p50"]
    assert f"from {interval['draws']} independent draws" in notes(document)["Median"]


@pytest.mark.parametrize("name", ["Requests per second", "Median", "Failures"])
def test_a_report_without_a_window_is_of_the_whole_run(name: str) -> None:
    document = {**ramp(), "window": None}
    assert "the whole run" in notes(document)[name]
