"""Reports on a target of known latency, compared with the target's own records."""

import math
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from known_target import Served, known_target, nearest_rank, noise

# Each percentile falls on its own level, so that one or two late answers move none of them far.
LEVELS = ((0.5, 70), (0.9, 22), (1.4, 6), (2.0, 2))
SECONDS = 5.0
USERS = 30
RATE = 40.0
FIRST_GAP = 0.25
"""Seconds; of Poisson processes of that rate, one in 20,000 begins later."""
CLOSED = {"users": {"stages": [{"users": USERS, "durationSeconds": SECONDS}], "spawnRate": 1000.0}}


def arrivals(distribution: str, rate: float = RATE, seconds: float = SECONDS) -> dict[str, Any]:
    stages = [{"ratePerSecond": rate, "durationSeconds": seconds}]
    return {"users": None, "arrivals": {"stages": stages, "distribution": distribution}}


SLOWING = {"median": 0.4, "sigma": 0.2, "slowdown": 0.05}
STEADY = {"levels": LEVELS}


def is_poisson(load: dict[str, Any]) -> bool:
    return (load.get("arrivals") or {}).get("distribution") == "poisson"


def begin_of(load: dict[str, Any], served: Sequence[Served]) -> float:
    """The run's second 0 by the target's clock: the time of the first request, if it isn't late.

    Each request of a constant rate says when the first was due; the promptest is right.
    """
    arrived = sorted(each.arrived for each in served)
    distance = 1 / RATE if load.get("arrivals") and not is_poisson(load) else 0.0
    return min(moment - number * distance for number, moment in enumerate(arrived))


@pytest.mark.parametrize(
    ("load", "workers", "behaviour"),
    [
        (CLOSED, 1, STEADY),
        (CLOSED, 3, STEADY),
        (CLOSED, 1, SLOWING),
        (arrivals("constant"), 1, STEADY),
        # A longer run makes the first gap weigh less.
        (arrivals("poisson", seconds=2 * SECONDS), 3, STEADY),
    ],
    ids=["closed-1", "closed-3", "closed-slowing-1", "constant-1", "poisson-3"],
)
def test_figures_are_within_one_per_cent_of_what_the_target_recorded(
    load: dict[str, Any], workers: int, behaviour: dict[str, Any], make_plan: Any, runner: Any
) -> None:
    with known_target(**behaviour, seed=workers, failure_ratio=0.08, key="a-key") as target:
        document = make_plan(target.url, [], **load) | {
            "auth": {"apiKeyVariable": "KEY_OF_THE_TARGET"},
            "request": {"body": {"width": 128}, "seed": {"policy": "random"}},
        }
        report = runner.report(document, workers=workers, KEY_OF_THE_TARGET="a-key")
        served = target.served()
    summary = report["summary"]
    good = [s for s in served if s.status == 200]
    failed = len(served) - len(good)
    assert (summary["requests"], summary["failures"]) == (len(served), failed)
    assert summary["failuresByKind"] == {"HTTP500": failed}
    assert summary["failureRatio"] == round(failed / len(served), 6)

    between = noise([s.answered - s.arrived - s.service_time for s in served])
    took = sorted(s.answered - s.arrived for s in good)
    # A p99 needs 299 successes.
    percents = (50, 95, 99) if len(good) >= 299 else (50, 95)
    assert (summary["p99"] is None) == (len(good) < 299)
    for percent in percents:
        expected = nearest_rank(took, percent)
        close = 0.01 * expected + between
        assert summary[f"p{percent}"] / 1000 == pytest.approx(expected, abs=close)
    # The histogram holds as many samples as the target recorded, at the same ranks.
    seen = [low / 1000 for low, count in report["histogram"]["buckets"] for _ in range(count)]
    assert len(seen) == len(took)
    assert nearest_rank(seen, 95) == pytest.approx(summary["p95"] / 1000, rel=0.001)
    begin, seconds = begin_of(load, served), report["summary"]["seconds"]
    first_gap = FIRST_GAP if is_poisson(load) else 0.0
    least, most = (
        sum(s.answered <= begin - gap + seconds for s in good) / seconds for gap in (first_gap, 0.0)
    )
    close = 0.01 + between / seconds
    assert least * (1 - close) <= summary["requestsPerSecond"] <= most * (1 + close)

    timings = summary["timings"]
    service_ms = sum(s.service_time for s in good) / len(good) * 1000
    assert timings["denoise"]["mean"] == pytest.approx(0.8 * service_ms, rel=1e-3)
    assert timings["vae"]["mean"] == pytest.approx(0.2 * service_ms, rel=1e-3)
    assert summary["mean"] == pytest.approx(
        sum(part["mean"] for part in timings.values()), rel=1e-3
    )
    seeds = [s.seed for s in served]
    assert len(set(seeds)) == len(seeds), "each request has a seed of its own"
    assert None not in seeds
    if load.get("users"):
        assert summary["maxUsers"] == USERS
    else:
        assert report["stages"][0]["users"] == summary["maxUsers"] > RATE * 0.5
    # The client may be late on a machine that is too busy, and must report that.
    assert report["valid"]["reason"] in {"Measured", "ClientSaturated"}


def test_stall_shows_in_the_open_loop(make_plan: Any, runner: Any) -> None:
    load = arrivals("constant", rate=20.0, seconds=9.0)
    with known_target(median=0.02, stall_after=2.0, stall_for=5.0) as target:
        report = runner.report(
            make_plan(target.url, [], **load) | {"request": {"timeoutSeconds": 20}}
        )
        served = target.served()
    summary = report["summary"]
    # A hundred requests were due during the stall: each was sent, and waited for the stall's end.
    assert summary["requests"] == len(served) == 180
    assert 4.5 < summary["max"] / 1000 < 5.5
    waited = sum(count for bound, count in report["histogram"]["buckets"] if bound > 500)
    assert 85 <= waited <= 100
    assert max(point["users"] for point in report["timeline"]) >= 95


def test_search_finds_the_knee(make_plan: Any, runner: Any) -> None:
    # The target serves 2 at a time, 0.1 s each: n users wait n/2 * 0.1 s, within 0.425 s up to 8.
    with known_target(median=0.1, slots=2) as target:
        report = runner.report(
            make_plan(target.url, [])
            | {
                "users": None,
                "search": {"over": "users", "min": 3, "max": 24, "probeSeconds": 1.5},
                "slo": {"p50Seconds": 0.425},
            }
        )
        served = target.served()
    search = report["search"]
    assert 7 <= search["knee"] <= 9
    assert search["step"] == 1
    assert search["confirmed"]
    assert len(report["stages"]) <= 20
    assert report["slo"]["met"]
    assert report["summary"]["maxUsersWithinSlo"] == search["knee"]
    # The curve is that of the queue: 2 answers every 0.1 s, and waiting from the third user on.
    levels = [point["level"] for point in search["curve"]]
    assert levels == sorted(levels)
    assert [levels[0], levels[-1]] == [3, 12]
    at_both_ends = 2 * (1.5 / 0.1 + 1) / 1.5
    assert all(point["requestsPerSecond"] <= at_both_ends + 0.1 for point in search["curve"])
    late = noise([s.answered - s.arrived - s.service_time for s in served[:3]])
    assert search["curve"][-1]["p50"] / 1000 == pytest.approx(12 / 2 * 0.1, rel=0.1, abs=6 * late)
    counted = sum(stage["requests"] + stage["discarded"] for stage in report["stages"])
    assert counted == len(served)


@pytest.mark.full
def test_search_finds_the_highest_rate(make_plan: Any, runner: Any) -> None:
    # At 300 a second 270 are served, so that a tenth fails; at a higher rate, more.
    with known_target(median=0.02, rate=270.0) as target:
        report = runner.report(
            make_plan(target.url, [])
            | {
                "users": None,
                "search": {"over": "rate", "min": 100, "max": 900, "probeSeconds": 10.0},
                "slo": {"maxFailureRatio": 0.1},
            }
        )
    search = report["search"]
    assert len(report["stages"]) <= 20
    assert report["summary"]["maxRateWithinSlo"] == search["knee"]
    # Near the knee chance decides a probe; a level that fails when repeated counts as beyond.
    assert search["step"] <= 0.05 * search["knee"]
    # A Poisson process of that rate sends 3000 in a probe, give or take their square root.
    by_chance = 3 * 300 / math.sqrt(3000)
    assert search["knee"] == pytest.approx(300, abs=search["step"] + by_chance)


def test_lost_worker_is_reported_and_the_others_take_over(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.1) as target:
        document = make_plan(target.url, [(8, 1.0)]) | {"minRequests": 1000}
        master, first, second = runner.start_distributed(document, 2)
        assert runner.progress(200)["workersConnected"] == 2
        first.kill()
        for process in (master, second):
            code, printed = runner.finish(process)
            assert code == 0, printed
        served = target.served()
    report = runner.read("report.json")
    assert (report["valid"]["status"], report["valid"]["reason"]) == (False, "WorkerLost")
    assert report["error"] is None
    # Only the samples that the lost worker had not sent are missing, fewer than all of its samples.
    unseen = len(served) - report["summary"]["requests"]
    assert 0 <= unseen < 80
    # At the end eight users run again.
    end = max(s.answered for s in served)
    last = [s for s in served if s.answered > end - 2.0]
    waited = sum(s.answered - max(s.arrived, end - 2.0) for s in last)
    assert waited / 2.0 == pytest.approx(8, rel=0.15)
    assert runner.read("progress.json")["workersConnected"] == 1


def test_termination_of_the_master_stops_all_workers(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.1) as target:
        master, *workers = runner.start_distributed(make_plan(target.url, [(8, 300.0)]), 2)
        runner.progress(30)
        master.send_signal(signal.SIGTERM)
        for process in (master, *workers):
            code, printed = runner.finish(process)
            assert code == 0, printed
        served = target.served()
    report = runner.read("report.json")
    assert report["error"]["reason"] == "Interrupted"
    assert report["valid"]["reason"] == "Interrupted"
    assert report["summary"]["failures"] == 0
    # Only answers that were in flight may be missing.
    assert 0 <= len(served) - report["summary"]["requests"] <= 8


@pytest.mark.full
def test_workers_without_their_master_stop_the_load(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.05) as target:
        master, *workers = runner.start_distributed(make_plan(target.url, [(4, 300.0)]), 2)
        runner.progress(20)
        master.kill()
        for worker in workers:
            code, printed = runner.finish(worker)
            assert code == 1
            assert "MasterLost" in printed


def test_warm_up_is_left_out_and_the_last_stage_goes_on_until_there_are_enough(
    make_plan: Any, runner: Any
) -> None:
    with known_target(median=0.05) as target:
        report = runner.report(
            make_plan(target.url, [(2, 0.5), (4, 0.5)])
            | {"warmup": {"requests": 10}, "minRequests": 120}
        )
        served = target.served()
    summary = report["summary"]
    # Requests that ended or were in flight before the client noticed the tenth are discarded too.
    assert 10 <= summary["discarded"] <= 20
    # Without minRequests there would have been about 60.
    assert 120 <= summary["requests"] <= 180
    assert summary["requests"] + summary["discarded"] == len(served)
    # No request of the warm-up was in flight when the load began.
    warm, cold = served[: summary["discarded"]], served[summary["discarded"] :]
    assert max(s.answered for s in warm) < min(s.arrived for s in cold)
    first, last = report["stages"]
    assert first["durationSeconds"] == 0.5
    assert last["durationSeconds"] > 0.5


def test_client_that_is_the_bottleneck_is_reported(make_plan: Any, runner: Any) -> None:
    # The target answers at once, and the client decodes every image.
    with known_target(median=0.0) as target:
        report = runner.report(
            make_plan(target.url, [(64, 4.0)]) | {"request": {"decodeShare": 1.0}}
        )
    assert (report["valid"]["status"], report["valid"]["reason"]) == (False, "ClientSaturated")


def test_target_that_changes_under_load_makes_the_figures_invalid(serve: Any, runner: Any) -> None:
    def change_under_way(request: int) -> tuple[float, str]:
        if request == 10:
            server.about = {"revision": "r2", "uptime_seconds": 1.0}
        return 0.02, "ok"

    server = serve(change_under_way, about={"revision": "r1", "uptime_seconds": 500.0})
    valid = runner.report(server.plan([(2, 4.0)]))["valid"]
    assert (valid["status"], valid["reason"]) == (False, "TargetRestarted")
    assert "TargetChanged" in valid["also"]


def test_run_whose_every_request_fails_is_failed_and_not_valid(serve: Any, runner: Any) -> None:
    server = serve(lambda _: (0.01, "down"))
    report = runner.report(server.plan([(2, 1.0)], slo={"maxFailureRatio": 1.0}))
    assert report["error"]["reason"] == "AllRequestsFailed"
    assert report["valid"]["reason"] == "AllRequestsFailed"
    assert runner.read("progress.json")["state"] == "Failed"
