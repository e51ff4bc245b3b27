"""Verdicts of a Comparison despite failures, missed objectives and rounded figures."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from diffusion_operator.api.comparison import Run
from diffusion_operator.comparison.analysis.results import (
    CAPACITY,
    LATENCY,
    THROUGHPUT,
    Compared,
    Criterion,
    Table,
    table,
)

Object = dict[str, Any]

USERS: Object = {"users": {"stages": [{"users": 8, "duration": "60s"}]}}
QUIET = (1.0, 1.004, 0.996, 1.002, 0.998)
"""Five rounds that scatter by 0.3 %."""


def runs(variant: str, rps: float = 10.0, rounds: int = 5, **more: Any) -> list[Run]:
    """Rounds of one variant; a sequence gives each round its own value."""

    def of(value: Any, place: int) -> Any:
        return value[place] if isinstance(value, list | tuple) else value

    return [
        Run(
            variant=variant,
            repetition=place + 1,
            state="Complete",
            completion_time="2026-01-01T00:00:00Z",
            requests_per_second=f"{rps * QUIET[place % 5]:.4g}",
            **{
                "valid": True,
                "requests": 1000,
                "failures": 0,
                "p50": 100,
                "p95": 400,
                "p99": 500,
                **{name: of(value, place) for name, value in more.items()},
            },
        )
        for place in range(rounds)
    ]


def judge(*variants: Sequence[Run], by: Criterion = THROUGHPUT, load: Object = USERS) -> Table:
    names = [each[0].variant for each in variants]
    compared = Compared(
        criterion=by,
        loads=dict.fromkeys(names, load),
        dollars_per_hour=dict.fromkeys(names),
        images=dict.fromkeys(names, 1),
        may_differ=set(),
    )
    return table(names, [run for each in variants for run in each], compared)


def order(verdict: Table) -> list[str]:
    return [row.variant for row in verdict.results if row.rank is not None]


def test_a_variant_that_fails_four_of_ten_requests_is_neither_recommended_nor_first() -> None:
    shedding = runs("shedding", 20.0, failures=400)
    honest = runs("honest", 10.0)
    verdict = judge(shedding, honest)
    assert order(verdict) == ["honest", "shedding"]
    # By hand: within its limits in 5 of 5 rounds and in 0 of 5, by chance in 2 of 1,024 at most.
    assert verdict.recommended == "honest"
    assert verdict.results[1].failure_ratio == "0.4"
    alone = judge(shedding, runs("worse", 5.0, failures=500))
    assert alone.recommended == ""
    assert "shedding failed 40.00% of its requests instead of at most 1.00%" in alone.conclusion


def test_a_variant_that_sheds_most_requests_does_not_win_by_its_latency() -> None:
    arrivals: Object = {"arrivals": {"stages": [{"ratePerSecond": "20", "duration": "60s"}]}}
    shedding = runs("shedding", failures=700, p95=[90, 91, 92, 91, 90])
    honest = runs("honest", p95=[400, 402, 398, 401, 399])
    verdict = judge(shedding, honest, by=LATENCY, load=arrivals)
    assert order(verdict) == ["honest", "shedding"]
    assert verdict.recommended != "shedding"


@pytest.mark.parametrize(("failures", "first"), [(49, "shedding"), (51, "honest")])
def test_a_95th_percentile_that_is_a_failure_wins_under_no_limit(failures: int, first: str) -> None:
    """The limit allows 30 %, but a failed request is beyond any latency."""
    arrivals: Object = {
        "arrivals": {"stages": [{"ratePerSecond": "20", "duration": "60s"}]},
        "slo": {"maxFailureRatio": "0.3"},
    }
    shedding = runs("shedding", failures=failures, p95=[90, 91, 92, 91, 90])
    honest = runs("honest", p95=[400, 402, 398, 401, 399])
    verdict = judge(shedding, honest, by=LATENCY, load=arrivals)
    assert order(verdict)[0] == first
    assert verdict.recommended == first


def test_the_limit_of_failures_alone_decides_whether_a_row_meets_the_objective() -> None:
    arrivals: Object = {
        "arrivals": {"stages": [{"ratePerSecond": "20", "duration": "60s"}]},
        "slo": {"p95": "8s", "maxFailureRatio": "0.1"},
    }
    several: Any = {"slo_met": True, "p95": [90, 91, 92, 91, 90]}
    verdict = judge(
        runs("shedding", failures=70, **several),
        runs("honest", **several),
        by=LATENCY,
        load=arrivals,
    )
    assert [row.slo_met for row in verdict.results] == [True, True]


@pytest.mark.parametrize(("limit", "first"), [("0.05", "fast"), ("0.01", "slow"), (None, "slow")])
def test_the_limit_of_failures_is_the_loads_own(limit: str | None, first: str) -> None:
    load = {**USERS, "slo": {"p95": "8s", **({"maxFailureRatio": limit} if limit else {})}}
    fast = runs("fast", 20.0, failures=30, slo_met=True)
    verdict = judge(fast, runs("slow", 10.0, slo_met=True), load=load)
    assert order(verdict)[0] == first


@pytest.mark.parametrize(
    ("requests", "failures"),
    [
        # Half of one round's few requests timed out: 0.2 % of all requests, and 10 % of a round.
        ([20, 1000, 1000, 1000, 1000], [10, 0, 0, 0, 0]),
        # One round that sheds quickly has most of the requests: 0.99 % a round, 4.7 % of all.
        ([100_000, 1000, 1000, 1000, 1000], [4950, 0, 0, 0, 0]),
    ],
)
def test_failures_of_one_round_do_not_hide_behind_the_others(
    requests: list[int], failures: list[int]
) -> None:
    fast = runs("fast", 20.0, requests=requests, failures=failures)
    verdict = judge(fast, runs("slow", 10.0))
    assert verdict.recommended == ""
    assert order(verdict) == ["slow", "fast"]


def test_a_variant_that_missed_its_slo_in_nine_of_ten_rounds_is_not_recommended() -> None:
    verdicts = [True, *[False] * 9]
    fast = runs("fast", 20.0, rounds=10, slo_met=verdicts)
    slow = runs("slow", 10.0, rounds=10, slo_met=True)
    verdict = judge(fast, slow)
    assert order(verdict) == ["slow", "fast"]
    assert verdict.recommended == ""
    fast_row = verdict.results[1]
    assert (fast_row.slo_met, fast_row.slo_met_runs, fast_row.runs) == (False, 1, 10)
    assert "although fast missed its objective in 9 of 10 rounds" in verdict.conclusion


def test_a_variant_that_missed_its_slo_in_one_round_of_five_may_still_be_recommended() -> None:
    fast = runs("fast", 20.0, slo_met=[True, False, True, True, True])
    verdict = judge(fast, runs("slow", 10.0, slo_met=True))
    assert verdict.recommended == "fast"
    assert verdict.results[0].slo_met is True


def test_a_variant_that_missed_its_slo_in_every_other_round_is_not_recommended() -> None:
    fast = runs("fast", 20.0, rounds=4, slo_met=[True, False, True, False])
    assert judge(fast, runs("slow", 10.0, rounds=4, slo_met=True)).recommended == ""


def test_equal_variants_at_the_limit_of_failures_are_separated_no_more_often_than_alpha() -> None:
    """Both fail one request in a hundred, so chance decides on which side a round falls."""
    rng = Random(5)

    def at_the_limit(name: str) -> list[Run]:
        failures = [sum(rng.random() < 0.01 for _ in range(200)) for _ in range(5)]
        speeds = [f"{10 * (1 + rng.gauss(0, 0.05)):.4g}" for _ in range(5)]
        return [
            run.model_copy(update={"requests_per_second": speed})
            for run, speed in zip(runs(name, requests=200, failures=failures), speeds, strict=True)
        ]

    studies = 150
    named = sum(
        judge(at_the_limit("a"), at_the_limit("b")).recommended != "" for _ in range(studies)
    )
    assert named <= 5  # 1 % of 150 is 1.5, three standard deviations are 3.7


def test_a_run_without_a_verdict_on_its_figures_is_not_ranked() -> None:
    verdict = judge(runs("fast", 20.0, valid=None), runs("slow", 10.0))
    assert order(verdict) == ["slow"]
    assert verdict.results[1].reason == "NotJudged"


def test_a_run_without_a_count_of_requests_is_not_ranked() -> None:
    verdict = judge(runs("fast", 20.0, requests=None), runs("slow", 10.0))
    assert order(verdict) == ["slow"]
    assert verdict.results[1].reason == "NoFigure"


def test_a_run_without_a_count_of_failures_is_not_ranked() -> None:
    verdict = judge(runs("fast", 20.0, failures=None), runs("slow", 10.0))
    assert order(verdict) == ["slow"]
    assert (verdict.recommended, verdict.results[1].reason) == ("", "NoFigure")


@pytest.mark.parametrize("rounds", [2, 3, 5])
def test_equal_rounded_figures_have_no_p_value_of_zero(rounds: int) -> None:
    """10 ms and 11 ms may be 10.49 and 10.51: each round rounds them to the same side."""
    ten = runs("ten", rounds=rounds, p95=10)
    eleven = runs("eleven", rounds=rounds, p95=11)
    verdict = judge(ten, eleven, by=LATENCY, load={"arrivals": {}})
    (p,) = [float(row.p_value) for row in verdict.results if row.p_value is not None]
    assert p > 0.01
    assert verdict.recommended == ""


@pytest.mark.parametrize("rounds", [3, 5])
def test_equal_figures_far_apart_have_a_p_value_above_zero(rounds: int) -> None:
    same = [f"{value:.4g}" for value in [20.0] * rounds]
    fast = runs("fast", rounds=rounds)
    fast = [
        run.model_copy(update={"requests_per_second": rps})
        for run, rps in zip(fast, same, strict=True)
    ]
    slow = [run.model_copy(update={"variant": "slow", "requests_per_second": "10"}) for run in fast]
    verdict = judge(fast, slow)
    assert verdict.recommended == "fast"
    assert all(float(row.p_value) > 0 for row in verdict.results if row.p_value is not None)


SEARCH: Object = {"search": {"over": "users", "min": 4, "max": 64}, "slo": {"p95": "8s"}}


def search_runs(variant: str, knees: Sequence[int | None]) -> list[Run]:
    """Rounds of a search from 4 users on; a round without a knee has no load within the SLO."""
    return runs(
        variant,
        rounds=len(knees),
        slo_met=[knee is not None for knee in knees],
        max_load_within_slo=[None if knee is None else str(knee) for knee in knees],
        load_beyond_slo=["4" if knee is None else str(knee + 1) for knee in knees],
    )


def test_a_variant_without_a_knee_is_below_the_least_load_and_ranked_last() -> None:
    good, bad = search_runs("good", [20, 21, 20, 20, 21]), search_runs("bad", [None] * 5)
    verdict = judge(bad, good, by=CAPACITY, load=SEARCH)
    assert order(verdict) == ["good", "bad"]
    assert verdict.recommended == "good"
    row = verdict.results[1]
    assert (row.reason, row.below_least_runs, row.max_load_within_slo) == ("", 5, None)


def test_a_variant_below_the_least_load_in_one_round_is_not_recommended_by_the_others() -> None:
    """Its mean has no lower end: the fifth round is anywhere below 4 users."""
    odd, steady = (
        search_runs("odd", [40, 41, 40, 41, None]),
        search_runs("steady", [20, 21, 20, 21, 20]),
    )
    verdict = judge(odd, steady, by=CAPACITY, load=SEARCH)
    assert verdict.recommended == ""
    assert verdict.results[0].below_least_runs == 1


def test_a_round_below_the_least_load_lowers_the_mean_instead_of_vanishing() -> None:
    half = search_runs("half", [16, 16, None, None, 16])
    verdict = judge(half, search_runs("other", [20] * 5), by=CAPACITY, load=SEARCH)
    (row,) = [row for row in verdict.results if row.variant == "half"]
    assert row.max_load_within_slo is not None
    # (16 * 16 * 16 * 4 * 4) ** (1 / 5), the geometric mean.
    assert float(row.max_load_within_slo.mean) == pytest.approx(9.19, abs=0.01)


def test_every_rival_must_be_beaten_and_each_by_itself() -> None:
    """Two clear losers don't make the third rival, a tie, lose as well."""
    tie = runs("tie", 10.02)
    verdict = judge(runs("best", 10.05), tie, runs("c", 5.0), runs("d", 4.0))
    assert verdict.recommended == ""
    assert "is not separated from tie in" in verdict.conclusion
    assert judge(runs("best", 12.0), tie, runs("c", 5.0), runs("d", 4.0)).recommended == "best"


def test_a_round_that_is_slow_for_all_is_no_scatter() -> None:
    """The second half of a study at half the speed, for all: 20 % apart in each round."""
    level = (1.0, 1.0, 0.5, 0.5, 0.5)

    def at(variant: str, rps: float) -> list[Run]:
        return [
            run.model_copy(update={"requests_per_second": f"{rps * each * quiet:.4g}"})
            for run, each, quiet in zip(runs(variant), level, QUIET, strict=True)
        ]

    assert judge(at("fast", 12.0), at("slow", 10.0), at("other", 9.0)).recommended == "fast"


@pytest.mark.parametrize(
    ("reason", "recommended"),
    [
        # The fastest variant saturates the client first.
        ("ClientSaturated", ""),
        ("TooFewSamples", ""),
        ("KneeNotConfirmed", ""),
        # The variant has failed by itself.
        ("TargetRestarted", "fast"),
        ("WarmupFailed", "fast"),
    ],
)
def test_a_variant_that_was_not_measured_may_be_the_best(reason: str, recommended: str) -> None:
    hidden = runs("hidden", 99.0, valid=False, reason=reason, message="m")
    assert judge(hidden, runs("fast", 20.0), runs("slow", 10.0)).recommended == recommended


def test_equal_figures_in_all_rounds_have_an_interval_of_their_rounding() -> None:
    """10 ms is anything from 9.5 to 10.5 ms."""
    row = judge(runs("a", p95=10), runs("b", p95=20)).results[0]
    assert row.p95 is not None
    assert row.p95.low is not None
    assert row.p95.high is not None
    assert float(row.p95.low) < 10 < float(row.p95.high)
