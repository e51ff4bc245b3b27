"""Statuses that an older or a newer operator has written."""

import json
from typing import Any

import pytest

from diffusion_operator.api.observed import ObservedComparison, ObservedLoadTest, ObservedService
from diffusion_operator.loadtest.analysis.history import history
from diffusion_operator.loadtest.analysis.run_identity import run_of
from diffusion_operator.loadtest.analysis.target import SNAPSHOT, Snapshot, snapshot_of

Object = dict[str, Any]

FIGURES = {"requests": 9, "failures": 1, "requestsPerSecond": "1.5", "p50": 120}
TIME = "2026-01-02T03:04:05Z"
CONDITION = {"type": "Complete", "status": "True", "reason": "Finished", "message": "m"}
FAILURE = {"pod": "demo-0", "reason": "OutOfMemory", "message": "m", "exitCode": 137, "time": TIME}
SUMMARY = {
    **FIGURES,
    "peakRequestsPerSecond": "2",
    "failuresPerSecond": "0",
    "maxUsers": 2,
}
EARLIER = {"run": "one", "state": "Complete", "valid": "True", "summary": SUMMARY}
SERVICE = {
    "observedGeneration": 2,
    "conditions": [CONDITION],
    "replicas": 2,
    "revision": "r1",
    "lastFailure": FAILURE,
}
TEST = {
    "conditions": [CONDITION],
    "state": "Complete",
    "run": "two",
    "target": {"backend": "fastapi", "fingerprint": {"digest": "d", "facts": {"steps": "4"}}},
    "summary": SUMMARY,
    "window": {**FIGURES, "stage": 1, "duration": "60s", "withinSLO": True},
    "stages": [FIGURES],
    "reportRef": {"name": "ramp-loadtest", "key": "report.json"},
    "history": [EARLIER],
}
COMPARISON = {
    "state": "Running",
    "run": "two",
    "design": {"repetitions": 5, "looks": [5]},
    "runs": [{"variant": "a", "repetition": 1, "state": "Complete", "requests": 9, "failures": 1}],
}
OPEN = {"facts"}
"""Fields with names of their own."""


def with_more(value: Any) -> Any:
    """The document with one more field in each of its objects."""
    if isinstance(value, list):
        return [with_more(each) for each in value]
    if not isinstance(value, dict):
        return value
    more = {name: each if name in OPEN else with_more(each) for name, each in value.items()}
    return {**more, "ofAnotherVersion": {"a": 1}}


@pytest.mark.parametrize(
    ("kind", "status"),
    [(ObservedService, SERVICE), (ObservedLoadTest, TEST), (ObservedComparison, COMPARISON)],
)
def test_one_more_field_at_any_depth_changes_nothing_that_is_read(
    kind: Any, status: Object
) -> None:
    read = kind.of({"status": status})
    assert kind.of({"status": with_more(status)}) == read
    assert read != kind()


def test_earlier_runs_of_another_version_stay() -> None:
    ended = history(with_more(TEST), "three", 5)
    assert ended == history(TEST, "three", 5)
    assert [each.run for each in ended] == ["two", "one"]


def test_an_earlier_run_that_cannot_be_read_takes_no_other_with_it() -> None:
    status = {**TEST, "history": [{"run": ["a list"]}, EARLIER], "window": {"requests": "many"}}
    assert [each.run for each in history(status, "three", 5)] == ["one"]


@pytest.mark.parametrize("text", ['["digest", "at", "r1"]', '["digest", "at", "r1", "more"]'])
def test_the_identity_of_a_run_is_read_with_further_parts(text: str) -> None:
    labels = {"diffusion.dev/run": "one", "diffusion.dev/role": "runner"}
    job = {"metadata": {"labels": labels, "annotations": {"diffusion.dev/run-of": text}}}
    run = run_of(job)
    assert run is not None
    assert (run.name, run.of.spec, run.of.run_at, run.of.revision) == ("one", "digest", "at", "r1")


@pytest.mark.parametrize("text", ["", "7", '{"a": 1}', "[]"])
def test_a_text_that_is_no_identity_is_none(text: str) -> None:
    labels = {"diffusion.dev/run": "one", "diffusion.dev/role": "runner"}
    job = {"metadata": {"labels": labels, "annotations": {"diffusion.dev/run-of": text}}}
    assert run_of(job) is None


def test_a_snapshot_is_read_with_further_fields() -> None:
    before = Snapshot(uid="u", revision="r", replicas=2, restarts={"p": 0})
    text = json.dumps({**json.loads(before.text()), "ofAnotherVersion": 1})
    assert snapshot_of({"metadata": {"annotations": {SNAPSHOT: text}}}) == before
