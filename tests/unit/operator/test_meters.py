"""Energy and utilisation of a run: what is asked, what is made of it, what is said without."""

from datetime import UTC, datetime
from typing import Any

import pytest

from diffusion_operator.api.comparison import PrometheusQueries, Run
from diffusion_operator.comparison.prometheus_queries import (
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


def test_nothing_is_asked_without_a_query_or_without_a_report() -> None:
    both = PrometheusQueries(energy_joules="e", gpu_utilisation="u")
    assert [asked.field for asked in questions(both, "shop", "a", REPORT)] == [ENERGY, UTILISATION]
    assert questions(None, "shop", "a", REPORT) == []
    assert questions(PrometheusQueries(), "shop", "a", REPORT) == []
    assert questions(both, "shop", "a", {}) == []


def test_energy_is_of_all_images_that_came_out_while_it_was_counted() -> None:
    # 100 that succeeded and 20 of the warm-up, of 2 images each.
    assert images_made(REPORT, 2) == 240
    assert answered(RUN, ENERGY, 480.0, 240).joules_per_image == "2"


def test_a_search_made_the_images_of_all_its_probes() -> None:
    probes = [
        {"requests": 50, "failures": 0, "discarded": 10},
        {"requests": 70, "failures": 5, "discarded": 12},
    ]
    assert images_made({**REPORT, "stages": probes, "search": {"knee": 2}}, 1) == 137


@pytest.mark.parametrize(
    ("field", "value", "made"),
    [(ENERGY, -1.0, 10), (ENERGY, 5.0, 0), (UTILISATION, 55.0, 10), (UTILISATION, -0.1, 10)],
)
def test_an_impossible_figure_is_none_and_said(field: str, value: float, made: int) -> None:
    found = answered(RUN, field, value, made)
    assert (found.joules_per_image, found.gpu_utilisation) == (None, None)
    assert f"Prometheus gives {value:g} for the query" in (found.unknown or {})[field]


def test_a_share_stays_as_it_is() -> None:
    assert answered(RUN, UTILISATION, 0.875, 10).gpu_utilisation == "0.875"


def test_a_query_that_gave_none_leaves_no_other_figure_in_its_place() -> None:
    told = RUN.model_copy(update={"joules_per_image": "3"})
    found = without(told, ENERGY, "Prometheus has no sample for the query")
    assert found.joules_per_image is None
    assert found.unknown == {ENERGY: "Prometheus has no sample for the query"}


def test_each_absent_figure_is_said_to_be_unknown_and_why() -> None:
    told = RUN.model_copy(update={"joules_per_image": "3"})
    found = explained(told, gpu=True).unknown or {}
    assert list(found) == [UTILISATION]
    assert "its pods don't report it" in found[UTILISATION]
    asked = without(RUN, ENERGY, "Prometheus did not answer within 10 s")
    found = explained(asked, gpu=False).unknown or {}
    assert found[ENERGY] == "Prometheus did not answer within 10 s"
    assert "no GPU" in found[UTILISATION]
    both = told.model_copy(update={"gpu_utilisation": "0.5"})
    assert explained(both, gpu=True).unknown is None
