"""Regression against a baseline: the baseline's own troubles, and how often a verdict is wrong."""

from collections.abc import Callable
from math import exp
from random import Random
from typing import Any

import pytest

from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.report.intervals import intervals
from diffusion_operator.api.loadtest import BaselineRef, LoadTestSpec
from diffusion_operator.documents.load_report import LoadReport
from diffusion_operator.loadtest.analysis.regression import Baseline, regressed
from diffusion_operator.loadtest.analysis.run_identity import desired_identity
from diffusion_operator.loadtest.baseline import baseline
from diffusion_operator.loadtest.observation import Observation

Object = dict[str, Any]
STUDIES = 100
NOW = "2026-01-02T03:04:05Z"
MEASURED = {"status": True, "reason": "Measured", "message": ""}


def report(window: Object | None, **changes: Any) -> LoadReport:
    figures = {"requests": 10, "failures": 0, "requestsPerSecond": 1, "p50": 1, "p95": 1}
    summary = {**figures, "p99": 1, "failuresByKind": {}, "peakRequestsPerSecond": 1}
    document = {
        "version": 1,
        "run": "abc",
        "startTime": NOW,
        "completionTime": NOW,
        "target": {"url": "http://x"},
        "summary": {**summary, "failuresPerSecond": 0, "maxUsers": 8},
        "stages": [],
        "window": window,
        "valid": MEASURED,
    }
    return LoadReport.model_validate({**document, **changes})


def window(p50: float, half: float, **changes: Any) -> Object:
    ends = {"low": p50 - half, "high": p50 + half}
    figures = {"requests": 100, "failures": 0, "requestsPerSecond": 1, "p50": p50, "p95": None}
    place = {"p99": None, "users": 8, "durationSeconds": 60, "stage": 1}
    return {**figures, **place, "intervals": {"p50": ends}, **changes}


def measured(random: Random, slower: float, requests: int, batch: int) -> LoadReport:
    """A run whose batches have levels that scatter by a tenth, as the runner reports it."""
    latencies: list[float] = []
    while len(latencies) < requests:
        level = random.gauss(0, 0.1)
        spread = (random.gauss(level, 0.02) for _ in range(batch))
        latencies += [1000 * slower * exp(each) for each in spread]
    ends = {name: each.model_dump() for name, each in intervals(latencies).items()}
    p50, p95 = (percentile(sorted(latencies), share) for share in (50, 95))
    made = {**window(1000, 0), "p50": p50, "p95": p95, "intervals": ends}
    return report(made)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_tenth_slower_is_told_and_an_equal_run_is_not(batch: int) -> None:
    def slower_runs(slower: float) -> int:
        random = Random(1)
        pairs = (
            (measured(random, slower, 600, batch), measured(random, 1, 600, batch))
            for _ in range(STUDIES)
        )
        verdicts = [regressed(now, Baseline("demo", before)) for now, before in pairs]
        return sum(each.status == "True" for each in verdicts)

    assert slower_runs(1.1) >= 0.95 * STUDIES
    assert slower_runs(1) <= 0.05 * STUDIES
    assert slower_runs(0.9) == 0


def test_a_change_has_its_interval_in_the_message() -> None:
    verdict = regressed(report(window(1200, 20)), Baseline("demo", report(window(1000, 20))))
    assert (verdict.type, verdict.status, verdict.reason) == ("Regressed", "True", "Slower")
    assert verdict.message == "against demo: p50 +20.0% (+16.9% to +23.2%)"


@pytest.mark.parametrize(
    ("now", "before", "reason"),
    [
        (window(1020, 0.1), window(1000, 0.1), "NotSlower"),  # below the least change
        (window(1000, 9, failures=2), window(1000, 9), "MoreFailures"),
        (window(1000, 9, intervals={}), window(1000, 9), "TooFewSamples"),
        (None, window(1000, 9), "NoFigures"),
        (window(1000, 9), None, "BaselineNotValid"),
    ],
)
def test_each_verdict_has_a_reason(now: Any, before: Any, reason: str) -> None:
    assert regressed(report(now), Baseline("demo", report(before))).reason == reason


def test_a_baseline_that_is_not_valid_compares_nothing() -> None:
    before = report(window(1000, 9), valid={**MEASURED, "status": False})
    verdict = regressed(report(window(1200, 9)), Baseline("demo", before))
    assert (verdict.status, verdict.reason) == ("Unknown", "BaselineNotValid")


class Objects:
    """A cache of given objects."""

    def __init__(self, *objects: Object) -> None:
        self._objects = {(each["kind"], each["metadata"]["name"]): each for each in objects}

    def get(self, key: Any) -> Object | None:
        return self._objects.get((key.kind, key.name))

    def pods(self, *_: str) -> list[Object]:
        return []


def loadtest(name: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": 1}
    made = {"kind": "LoadTest", "metadata": metadata, "spec": {"url": "http://x", **spec}}
    of = desired_identity(made, "").spec
    return {**made, "status": {"run": "abc", "specDigest": of, "state": "Complete"}}


def written(owner: Object) -> Object:
    reference = {"uid": owner["metadata"]["uid"], "controller": True}
    text = report(window(1000, 9)).model_dump_json(by_alias=True)
    metadata = {"name": f"{owner['metadata']['name']}-loadtest", "ownerReferences": [reference]}
    return {"kind": "ConfigMap", "metadata": metadata, "data": {"report.json": text}}


def stale(test: Object) -> Object:
    return {**test, "status": {**test["status"], "specDigest": "other"}}


@pytest.mark.parametrize(
    ("others", "run", "sentence"),
    [
        (lambda before: [before, written(before)], None, ""),
        (lambda before: [before, written(before)], "abc", ""),
        (lambda _: [], None, "there is no LoadTest 'before'"),
        (lambda before: [before], None, "has no report of a run yet"),
        (lambda before: [before, written(before)], "xyz", "no longer of xyz"),
        (lambda before: [stale(before), written(before)], None, "has changed since its run"),
        (
            lambda _: [loadtest("before", url="http://y", workers=2)],
            None,
            "spec.url, spec.workers differ",
        ),
    ],
)
def test_a_baseline_that_can_not_be_compared_is_refused_in_a_sentence(
    others: Callable[[Object], list[Object]], run: str | None, sentence: str
) -> None:
    test = loadtest("now", slo={"p95": "8s"}, baselineRef={"name": "before"})
    cache: Any = Objects(*others(loadtest("before")))
    known = baseline(cache, test, BaselineRef(name="before", run=run))
    assert sentence in known.trouble
    assert bool(known.trouble) == bool(sentence)
    assert regressed(None, known).reason == ("NoBaseline" if sentence else "NoFigures")


def test_a_test_is_no_baseline_of_itself() -> None:
    cache: Any = Objects()
    known = baseline(cache, loadtest("now"), BaselineRef(name="now"))
    assert "name another LoadTest" in known.trouble


def ended(*verdicts: tuple[str, str], observed: int = 1, **spec: Any) -> Object:
    """LoadTest whose run has ended with these conditions, by the spec of that generation."""
    load = {"users": {"stages": [{"users": 8, "duration": "60s"}]}}
    test = loadtest("now", **load, **spec)
    test["status"] |= {
        "observedGeneration": observed,
        "conditions": [
            {"type": kind, "status": status, "reason": "Recorded"} for kind, status in verdicts
        ],
    }
    return test


def reason_after_the_end(test: Object, before: Object | None = None) -> str | None:
    """Reason of the condition Regressed once the ended run is reconciled."""
    others = [] if before is None else [before, written(before)]
    cache: Any = Objects(test, written(test), *others)
    verdict = Observation(cache, test, LoadTestSpec.model_validate(test["spec"])).comparison()
    return verdict.reason if verdict is not None else None


VALID = ("Valid", "True")
REFERENCE: Object = {"baselineRef": {"name": "before"}}


def a_baseline() -> Object:
    return loadtest("before", users={"stages": [{"users": 8, "duration": "60s"}]})


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (ended(VALID, observed=0, **REFERENCE), "NotSlower"),  # the reference is new
        (ended(VALID, ("Regressed", "Unknown"), **REFERENCE), "NotSlower"),
        (ended(VALID, ("Regressed", "True"), **REFERENCE), "Recorded"),
        (ended(VALID, ("Regressed", "True"), observed=0, **REFERENCE), "NotSlower"),
        (ended(("Valid", "False"), observed=0, **REFERENCE), "NoFigures"),
        (ended(VALID, ("Regressed", "True"), observed=0), None),
    ],
)
def test_an_ended_run_is_compared_once_it_has_a_baseline(test: Object, reason: str | None) -> None:
    assert reason_after_the_end(test, a_baseline()) == reason


def test_a_decided_comparison_outlives_its_baseline() -> None:
    assert reason_after_the_end(ended(VALID, ("Regressed", "False"), **REFERENCE)) == "Recorded"
    assert reason_after_the_end(ended(VALID, **REFERENCE)) == "NoBaseline"


def test_a_run_of_an_earlier_spec_is_compared_with_nothing() -> None:
    more: Object = {"stages": [{"users": 50, "duration": "60s"}]}
    test = ended(VALID, observed=0, **REFERENCE)
    test["spec"]["users"] = more
    assert reason_after_the_end(test, loadtest("before", users=more)) == "NoFigures"
