"""Energy and utilisation of a run: queries, figures, and reasons for missing figures."""

from datetime import UTC, datetime
from typing import Any

import pytest

from diffusion_operator.api.comparison import Run
from diffusion_operator.api.comparison_parts import PrometheusQueries
from diffusion_operator.comparison.analysis.prometheus_queries import (
    ENERGY,
    UTILISATION,
    Question,
    answered,
    explained,
    images_made,
    questions,
    without,
)

RUN = Run(variant="a", repetition=1, state="Complete")
REPORT: dict[str, Any] = {
    "startTime": "2026-01-02T03:04:05Z",
    "completionTime": "2026-01-02T03:05:34.600Z",
    "summary": {"requests": 110, "failures": 10, "discarded": 20},
}


def test_a_query_gets_the_runs_namespace_service_and_window() -> None:
    queries = PrometheusQueries(
        energy_joules='sum(increase(e{n="$namespace", pod=~"$service-.*"}[$window]))'
    )
    assert questions(queries, "shop", "study-a", REPORT) == [
        Question(
            ENERGY,
            'sum(increase(e{n="shop", pod=~"study-a-.*"}[90s]))',
            datetime(2026, 1, 2, 3, 5, 34, 600_000, tzinfo=UTC),
        )
    ]


def test_no_question_is_asked_without_a_query_or_without_a_report() -> None:
    both = PrometheusQueries(energy_joules="e", gpu_utilisation="u")
    assert [question.field for question in questions(both, "shop", "a", REPORT)] == [
        ENERGY,
        UTILISATION,
    ]
    assert questions(None, "shop", "a", REPORT) == []
    assert questions(PrometheusQueries(), "shop", "a", REPORT) == []
    assert questions(both, "shop", "a", {}) == []


def test_energy_is_of_all_images_that_were_generated_while_it_was_counted() -> None:
    # 100 requests that succeeded and 20 of the warm-up, of 2 images each.
    assert images_made(REPORT, 2) == 240
    assert answered(RUN, ENERGY, 480.0, 240).joules_per_image == "2"


def test_a_search_made_the_images_of_all_its_probes() -> None:
    probes = [
        {"requests": 50, "failures": 0, "discarded": 10},
        {"requests": 70, "failures": 5, "discarded": 12},
    ]
    assert images_made({**REPORT, "stages": probes, "search": {"knee": 2}}, 1) == 137


@pytest.mark.parametrize(
    ("field", "value", "images"),
    [(ENERGY, -1.0, 10), (ENERGY, 5.0, 0), (UTILISATION, 55.0, 10), (UTILISATION, -0.1, 10)],
)
def test_an_impossible_figure_is_none_and_explained(field: str, value: float, images: int) -> None:
    result = answered(RUN, field, value, images)
    assert (result.joules_per_image, result.gpu_utilisation) == (None, None)
    assert f"Prometheus gives {value:g} for the query" in (result.unknown or {})[field]


def test_a_share_stays_as_it_is() -> None:
    assert answered(RUN, UTILISATION, 0.875, 10).gpu_utilisation == "0.875"


def test_a_query_without_a_figure_leaves_no_other_figure_in_its_place() -> None:
    measured = RUN.model_copy(update={"joules_per_image": "3"})
    result = without(measured, ENERGY, "Prometheus has no sample for the query")
    assert result.joules_per_image is None
    assert result.unknown == {ENERGY: "Prometheus has no sample for the query"}


def test_each_absent_figure_has_a_reason() -> None:
    measured = RUN.model_copy(update={"joules_per_image": "3"})
    reasons = explained(measured, gpu=True).unknown or {}
    assert list(reasons) == [UTILISATION]
    assert "its pods don't report it" in reasons[UTILISATION]
    unanswered = without(RUN, ENERGY, "Prometheus did not answer within 10 s")
    reasons = explained(unanswered, gpu=False).unknown or {}
    assert reasons[ENERGY] == "Prometheus did not answer within 10 s"
    assert "no GPU" in reasons[UTILISATION]
    both = measured.model_copy(update={"gpu_utilisation": "0.5"})
    assert explained(both, gpu=True).unknown is None
