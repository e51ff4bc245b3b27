"""Attempts of a Comparison: a repetition without valid figures runs again, twice at most."""

import json
from typing import Any

import pytest

from diffusion_operator.api.comparison import ColdStart, ComparisonSpec, Result, Run
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.analysis.design import design
from diffusion_operator.comparison.analysis.results import Table
from diffusion_operator.comparison.schedule import (
    Schedule,
    Step,
    recorded,
    run_of,
    test_name,
    variants_of,
)
from diffusion_operator.comparison.status import Observed, comparison_status
from diffusion_operator.comparison.variant_run import is_of, variant_service, variant_test

Object = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"

SPEC: Object = {
    "service": {"model": {"source": "image:///models/demo"}},
    "loadTest": {"users": {"stages": [{"users": 4, "duration": "10s"}]}},
    "variants": [{"name": name, "service": {"backend": "fastapi"}} for name in ("a", "b")],
    "repetitions": 2,
}


def comparison(status: Object | None = None, **spec: Any) -> Object:
    made: Object = {
        "apiVersion": "diffusion.dev/v1alpha1",
        "kind": "Comparison",
        "metadata": {"name": "study", "namespace": "shop", "uid": "u-1", "generation": 1},
        "spec": {key: value for key, value in {**SPEC, **spec}.items() if value is not None},
    }
    return made if status is None else {**made, "status": status}


def schedule(*runs: Run, **spec: Any) -> Schedule:
    made = comparison(**spec)
    parsed = ComparisonSpec.model_validate(made["spec"])
    return Schedule(made, parsed, variants_of(made, parsed), run_of(made), runs)


def run(variant: str, repetition: int, attempt: int = 1, **more: Any) -> Run:
    settings: Object = {
        "state": "Complete",
        "valid": True,
        "requests": 10,
        "completion_time": NOW,
        "fingerprint": {"torch": "2.15"},
        "cold_start": ColdStart(ready=3),
        **more,
    }
    return Run(variant=variant, repetition=repetition, attempt=attempt, **settings)


def busy(variant: str, repetition: int, attempt: int = 1) -> Run:
    return run(variant, repetition, attempt, valid=False, reason="ClientSaturated", message="busy")


def test_an_invalid_repetition_is_repeated_at_once_in_its_own_round() -> None:
    assert schedule(busy("a", 1)).next_step == Step("a", 1, 2)
    assert schedule(busy("a", 1), run("a", 1, 2)).next_step == Step("b", 1)


def test_the_figures_that_count_are_those_of_the_last_attempt() -> None:
    seen = schedule(busy("a", 1), run("a", 1, 2), busy("b", 1))
    assert [(each.variant, each.attempt) for each in seen.counted] == [("a", 2)]


def test_after_three_attempts_the_variant_is_given_up_and_the_others_go_on() -> None:
    tries = [busy("a", 1), busy("a", 1, 2), busy("a", 1, 3)]
    seen = schedule(*tries, run("b", 1))
    assert seen.next_step == Step("b", 2)
    given_up = seen.hopeless("a")
    assert given_up is not None
    assert given_up.reason == "ClientSaturated"
    assert seen.hopeless("b") is None
    assert [each.attempt for each in seen.counted] == [3, 1]


def test_a_study_whose_runs_are_all_invalid_ends() -> None:
    runs: list[Run] = []
    while (step := schedule(*runs).next_step) is not None:
        runs.append(busy(*step))
        assert len(runs) <= 2 * 2 * 3
    assert len(runs) == 2 * 2 * 3


@pytest.mark.parametrize(
    ("settings", "repeats"),
    [
        ({"valid": False, "reason": "TargetRestarted"}, True),
        ({"valid": False, "reason": "Interrupted", "state": "Failed"}, True),
        # The stage is as short the next time, and the target as broken.
        ({"valid": False, "reason": "TooFewSamples"}, False),
        ({"valid": False, "reason": "AllRequestsFailed", "state": "Failed"}, False),
        ({"valid": None, "reason": "NotReady", "state": "Failed"}, False),
        ({"valid": None}, False),
        ({}, False),
    ],
)
def test_only_a_cause_that_may_have_passed_is_repeated(settings: Object, *, repeats: bool) -> None:
    following = schedule(run("a", 1, **settings)).next_step
    assert following == (Step("a", 1, 2) if repeats else Step("b", 1))


def test_each_attempt_has_a_load_test_and_pods_of_its_own() -> None:
    made = comparison()
    names = {test_name(made, Step("a", 20, attempt)) for attempt in (1, 2, 3)}
    assert names == {"study-a-20", "study-a-40", "study-a-60"}
    repetitions = {test_name(made, Step("a", r, n)) for r in range(1, 21) for n in (1, 2, 3)}
    assert len(repetitions) == 60
    first = variant_service(made, Step("a", 1), {}, "run")
    second = variant_service(made, Step("a", 1, 2), {}, "run")
    assert is_of(first, Step("a", 1))
    assert not is_of(first, Step("a", 1, 2))
    assert is_of(second, Step("a", 1, 2))
    assert not is_of(second, Step("a", 1))


def test_the_longest_names_leave_room_for_an_attempt() -> None:
    made = comparison()
    made["metadata"]["name"] = "n" * 30
    assert len(test_name(made, Step("v" * 18, 20, 3))) == 52


def test_an_upgrade_changes_no_child_of_a_first_attempt() -> None:
    made = comparison()
    for child in (
        variant_service(made, Step("a", 1), {}, "run"),
        variant_test(made, Step("a", 1), {}, "run"),
    ):
        assert "diffusion.dev/attempt" not in child["metadata"]["labels"]


def test_a_run_in_progress_is_identified_by_its_attempt() -> None:
    testing = run("a", 1, 2, state="Testing", completion_time=None)
    seen = schedule(busy("a", 1), testing)
    assert seen.current(Step("a", 1, 2)) == testing
    assert seen.current(Step("a", 1)) is None


def test_an_attempt_without_valid_figures_keeps_its_outcome_but_not_its_facts() -> None:
    first, second = schedule(busy("a", 1), run("a", 1, 2)).kept
    assert (first.attempt, first.reason, first.fingerprint, first.cold_start) == (
        1,
        "ClientSaturated",
        None,
        None,
    )
    assert second.fingerprint == {"torch": "2.15"}


def test_the_largest_study_fits_its_status() -> None:
    """etcd takes 1.5 MiB: 12 variants, 20 rounds, 3 attempts each, 40 facts of a target."""
    facts = {f"fact-{n:02}": "x" * 20 for n in range(40)}
    names = [f"variant-{n}" for n in range(12)]
    variants = [{"name": name, "service": {"backend": "fastapi"}} for name in names]
    every = [
        busy(name, repetition, attempt).model_copy(update={"fingerprint": facts})
        for repetition in range(1, 21)
        for name in names
        for attempt in (1, 2, 3)
    ]
    kept = schedule(*every, variants=variants, repetitions=20).kept
    assert len(kept) == 720
    text = json.dumps(
        [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in kept]
    )
    assert len(text) < 2**20


def test_the_default_is_five_rounds() -> None:
    assert len(schedule(repetitions=None).order) == 2 * 5


def test_an_upgrade_adds_no_round_to_a_study_that_has_begun() -> None:
    plain = comparison(repetitions=None)
    ended = [{"variant": "a", "repetition": 1, "state": "Complete", "completionTime": NOW}]
    before = comparison({"run": run_of(plain), "runs": ended}, repetitions=None)
    parsed = ComparisonSpec.model_validate(before["spec"])
    known = recorded(before, run_of(before))
    assert [each.attempt for each in known] == [1]
    seen = Schedule(before, parsed, variants_of(before, parsed), run_of(before), known)
    assert seen.repetitions == 3
    begun = {**before, "status": {**before["status"], "design": {"repetitions": 5, "variants": 2}}}
    assert Schedule(begun, parsed, seen.variants, run_of(begun), known).repetitions == 5


def test_the_design_is_published_before_the_first_run_and_no_p_value_before_the_end() -> None:
    row = Result(variant="a", runs=3, p_value="0.002")
    rows = Table((row,), "a", "a is best", (), "requests per second")

    def status(state: RunState) -> Any:
        seen = Observed("run", state, "Running", "m", total=4, design=design(2, 2), table=rows)
        return comparison_status(comparison(), seen, now=NOW)

    early, late = status(RunState.RUNNING), status(RunState.COMPLETE)
    assert early.design.repetitions == 2
    assert early.results[0].p_value is None
    assert (early.recommended, early.conclusion) == ("", "")
    assert late.results[0].p_value == "0.002"


def test_a_conclusion_with_more_rounds_knows_the_earlier_looks() -> None:
    plain = comparison()
    known = {"run": run_of(plain), "design": {"repetitions": 5, "variants": 2, "looks": [5]}}
    more = comparison(known, repetitions=8)
    parsed = ComparisonSpec.model_validate(more["spec"])
    seen = Schedule(more, parsed, variants_of(more, parsed), run_of(more), [])
    assert (seen.earlier_looks, seen.looks) == ((5,), (5, 8))
    again = comparison(known, repetitions=5)
    same = Schedule(
        again, parsed.model_copy(update={"repetitions": 5}), seen.variants, seen.run, []
    )
    assert same.looks == (5,)
    assert schedule().looks == (2,), "another study's looks count"
