"""Verdicts of real runs on targets that do not meet their SLO, and of runs without a verdict."""

import signal
from typing import Any

import pytest

from known_target import known_target


def arrivals(rate: float, seconds: float) -> dict[str, Any]:
    stages = [{"ratePerSecond": rate, "durationSeconds": seconds}]
    return {"users": None, "arrivals": {"stages": stages, "distribution": "constant"}}


def test_target_that_sheds_most_of_its_requests_misses_an_slo_of_latencies(
    make_plan: Any, runner: Any
) -> None:
    with known_target(median=0.02, rate=20.0) as target:
        slo = {"slo": {"p95Seconds": 1.0}}
        report = runner.report(make_plan(target.url, [], **arrivals(60.0, 6.0)) | slo)
        served = target.served()
    shed = sum(answer.status != 200 for answer in served) / len(served)
    assert shed > 0.4
    assert report["summary"]["p95"] < 1000
    assert report["summary"]["failureRatio"] == pytest.approx(shed, abs=1e-6)
    assert (report["slo"]["met"], report["slo"]["reason"]) == (False, "BeyondSLO")
    assert report["stages"][0]["withinSlo"] is False
    assert report["stages"][0]["overload"] is None


def test_open_loop_above_the_capacity_is_overloaded_whatever_the_slos_limit(
    make_plan: Any, runner: Any
) -> None:
    # The target serves two requests at a time, 0.1 s each: 20/s of the 40/s that arrive.
    with known_target(median=0.1, slots=2) as target:
        plan = make_plan(target.url, [], **arrivals(40.0, 6.0))
        plan |= {"slo": {"p95Seconds": 60.0}, "request": {"timeoutSeconds": 30}}
        report = runner.report(plan)
    assert report["summary"]["failures"] == 0
    assert (report["slo"]["met"], report["slo"]["reason"]) == (False, "Overloaded")
    assert all(check["met"] for check in report["slo"]["checks"])
    assert report["window"]["overload"] == report["stages"][0]["overload"] != ""
    # Responses after the load are in no rate.
    assert report["summary"]["requestsPerSecond"] == pytest.approx(20.0, rel=0.06)
    assert report["summary"]["maxRateWithinSlo"] is None


def test_stage_without_its_users_has_no_verdict(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.02) as target:
        plan = make_plan(target.url, [(3, 3.0), (100, 2.0)]) | {"slo": {"p50Seconds": 5.0}}
        plan["users"]["spawnRate"] = 2.0
        report = runner.report(plan)
        served = target.served()
    first, last = report["stages"]
    assert (first["usersReached"], first["withinSlo"]) == (3, True)
    # Two more users start per second, the first at the stage's begin.
    assert 5 <= last["usersReached"] <= 8
    assert last["withinSlo"] is None
    assert report["summary"]["maxUsersWithinSlo"] == 3
    assert report["slo"]["reason"] == report["valid"]["reason"] == "UsersNotReached"
    assert report["summary"]["requests"] == len(served)


def test_interrupted_run_has_no_verdict(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.05) as target:
        plan = make_plan(target.url, [(4, 120.0)]) | {"slo": {"p95Seconds": 5.0}}
        process = runner.start(plan)
        runner.progress(100)
        process.send_signal(signal.SIGTERM)
        code, printed = runner.finish(process)
    assert code == 0, printed
    slo = runner.read("report.json")["slo"]
    assert (slo["met"], slo["reason"], slo["checks"]) == (False, "Interrupted", [])
    assert "no verdict: The run was stopped" in slo["message"]


def test_min_requests_counts_the_requests_of_the_window(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.02) as target:
        plan = make_plan(target.url, [(4, 2.0)]) | {"minRequests": 600}
        plan["users"]["spawnRate"] = 4.0
        report = runner.report(plan)
    window = report["window"]
    assert window["requests"] >= 600
    assert window["discarded"] > 0
    # The ramp takes 0.75 s, and the settling a fifth of the remaining 1.25 s.
    assert window["measuredFromSeconds"] == pytest.approx(1.0, abs=0.3)
    assert report["valid"]["reason"] in {"Measured", "ClientSaturated"}


@pytest.mark.full
def test_search_over_a_rate_finds_no_more_than_the_capacity(make_plan: Any, runner: Any) -> None:
    # Two at a time, 0.1 s each: exactly 20/s, and p95 is below the limit for minutes.
    with known_target(median=0.1, slots=2) as target:
        plan_search = {"over": "rate", "min": 8, "max": 40, "probeSeconds": 15.0}
        plan = make_plan(target.url, []) | {"users": None, "search": plan_search}
        report = runner.report(plan | {"slo": {"p95Seconds": 8.0}})
    search = report["search"]
    assert 17.0 <= search["knee"] <= 20.2
    assert search["confirmed"]
    assert report["slo"]["met"]
    assert report["summary"]["maxRateWithinSlo"] == search["knee"]
    beyond = [stage for stage in report["stages"] if stage["withinSlo"] is False]
    assert any(stage["overload"] for stage in beyond)
    assert all(stage["failures"] == 0 for stage in report["stages"])
