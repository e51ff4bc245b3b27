"""Events about the runs of LoadTests and Comparisons."""

from typing import Any

import pytest

from diffusion_operator.api.observed import ObservedRun
from diffusion_operator.kube.events import news

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"


def status(run: str, **conditions: tuple[str, str]) -> Object:
    listed = [
        {"type": kind, "status": value, "reason": reason, "message": f"{reason} it is"}
        for kind, (value, reason) in conditions.items()
    ]
    return {"run": run, "conditions": listed}


WAITING = status("one", Complete=("False", "Waiting"), Failed=("False", "NothingFailed"))
FAILED = status(
    "one",
    Complete=("False", "RunnerLost"),
    Failed=("True", "RunnerLost"),
    Valid=("False", "RunnerLost"),
)
SATURATED = status("one", Complete=("True", "Finished"), Valid=("False", "ClientSaturated"))


def events_of(loadtest: Object, before: Object, after: Object) -> list[tuple[str, str]]:
    made = news({**loadtest, "status": before}, ObservedRun.of({"status": after}), NOW)
    by_name = {each["metadata"]["name"]: (each["type"], each["reason"]) for each in made}
    return list(by_name.values())


@pytest.mark.parametrize(
    ("after", "events"),
    [
        (WAITING, []),
        (FAILED, [("Warning", "RunnerLost")]),
        (SATURATED, [("Normal", "Finished"), ("Warning", "ClientSaturated")]),
    ],
)
def test_the_end_of_a_run_is_an_event(
    loadtest: Object, after: Object, events: list[tuple[str, str]]
) -> None:
    assert events_of(loadtest, WAITING, after) == events
    assert events_of(loadtest, after, after) == []


def test_another_run_with_the_same_end_is_another_event(loadtest: Object) -> None:
    names = set()
    for run in ("one", "two"):
        (event, *_) = news(loadtest, ObservedRun.of({"status": {**FAILED, "run": run}}), NOW)
        names.add(event["metadata"]["name"])
    assert len(names) == 2
    assert events_of(loadtest, FAILED, {**FAILED, "run": "two"}) == [("Warning", "RunnerLost")]
