"""What is reported of a target of known latency, against what that target itself recorded."""

import signal
from typing import Any

import pytest

from known_target import Served, known_target, nearest_rank

# percentiles fall on a level each, so that a late answer or two move none of them far
LEVELS = ((0.5, 70), (0.9, 22), (1.4, 8))
SECONDS = 5.0
USERS = 30
RATE = 40.0
CLOSED = {"users": {"stages": [{"users": USERS, "durationSeconds": SECONDS}], "spawnRate": 1000.0}}


def arrivals(distribution: str, rate: float = RATE, seconds: float = SECONDS) -> dict[str, Any]:
    stages = [{"ratePerSecond": rate, "durationSeconds": seconds}]
    return {"users": None, "arrivals": {"stages": stages, "distribution": distribution}}


def lateness(served: list[Served]) -> float:
    """By how much this machine let the target's own timers be late: the noise of the hour."""
    return nearest_rank([s.answered - s.arrived - s.wanted for s in served], 95)


@pytest.mark.parametrize(
    ("load", "workers"),
    [(CLOSED, 1), (CLOSED, 3), (arrivals("constant"), 1), (arrivals("poisson"), 3)],
    ids=["closed-1", "closed-3", "open-1", "open-3"],
)
def test_figures_are_those_that_the_target_recorded(
    load: dict[str, Any], workers: int, make_plan: Any, runner: Any, tmp_path: Any
) -> None:
    (tmp_path / "key").write_text("a-key\n")
    with known_target(levels=LEVELS, seed=workers, failure_ratio=0.08, key="a-key") as target:
        document = make_plan(target.url, [], **load) | {
            "auth": {"apiKeyFile": str(tmp_path / "key")},
            "request": {"body": {"width": 128}, "seed": {"policy": "random"}},
        }
        report = runner.report(document, workers=workers)
        served = target.served()
    summary = report["summary"]
    good = [s for s in served if s.status == 200]
    failed = len(served) - len(good)
    assert (summary["requests"], summary["failures"]) == (len(served), failed)
    assert summary["failuresByKind"] == {"HTTP500": failed}
    assert summary["failureRatio"] == round(failed / len(served), 6)

    noise = lateness(served)
    took = sorted(s.answered - s.arrived for s in good)
    for percent in (50, 95):
        expected = nearest_rank(took, percent)
        close = 0.01 * expected + noise
        assert summary[f"p{percent}"] / 1000 == pytest.approx(expected, abs=close)
    # rank by rank, each figure's own samples are the target's; a busy machine delays a few of them
    seen = [low / 1000 for low, count in report["histogram"]["buckets"] for _ in range(count)]
    assert len(seen) == len(took)
    close_ones = sum(
        abs(mine - its) < 0.01 * its + noise for mine, its in zip(seen, took, strict=True)
    )
    assert close_ones >= 0.95 * len(seen)
    assert summary["p99"] / 1000 == pytest.approx(nearest_rank(seen, 99), rel=0.001)
    # the target knows when the first request came, but not when it was due
    gap = 0.0 if load.get("users") else 1 / RATE
    span = max(s.answered for s in good) - min(s.arrived for s in served)
    close = 0.01 + (noise + 4 * gap) / span
    assert summary["requestsPerSecond"] == pytest.approx(len(good) / span, rel=close)

    timings = summary["timings"]
    wanted = sum(s.wanted for s in good) / len(good) * 1000
    assert timings["denoise"]["mean"] == pytest.approx(0.8 * wanted, rel=1e-3)
    assert timings["vae"]["mean"] == pytest.approx(0.2 * wanted, rel=1e-3)
    assert timings["other"]["p50"] / 1000 < noise + 0.02
    assert summary["mean"] == pytest.approx(
        sum(part["mean"] for part in timings.values()), rel=1e-3
    )
    seeds = [s.seed for s in served]
    assert len(set(seeds)) == len(seeds), "each request has a seed of its own"
    assert None not in seeds
    if gap:
        assert report["stages"][0]["users"] == summary["maxUsers"] > RATE * 0.5
    else:
        assert summary["maxUsers"] == USERS
    # so many of so few seconds that the machine's noise may count against it, but nothing else
    assert report["valid"]["reason"] in {"Measured", "ClientSaturated"}


def test_stall_shows_in_the_open_loop(make_plan: Any, runner: Any) -> None:
    load = arrivals("constant", rate=20.0, seconds=9.0)
    with known_target(median=0.02, stall_after=2.0, stall_for=5.0) as target:
        report = runner.report(
            make_plan(target.url, [], **load) | {"request": {"timeoutSeconds": 20}}
        )
        served = target.served()
    summary = report["summary"]
    # a hundred requests were due while the target stalled: each was sent, and waited for its end
    assert summary["requests"] == len(served) == 180
    assert 4.5 < summary["p99"] / 1000 < 5.5
    waited = sum(count for bound, count in report["histogram"]["buckets"] if bound > 500)
    assert 85 <= waited <= 100
    assert max(point["users"] for point in report["timeline"]) >= 95


def test_search_finds_the_knee(make_plan: Any, runner: Any) -> None:
    # 4 at a time, 0.1 s each: n users wait n/4 * 0.1 s, which is within 0.2625 s for up to 10
    with known_target(median=0.1, slots=4) as target:
        report = runner.report(
            make_plan(target.url, [])
            | {
                "users": None,
                "search": {"over": "users", "min": 1, "max": 32, "probeSeconds": 1.5},
                "slo": {"p50Seconds": 0.2625},
            }
        )
        served = target.served()
    found = report["search"]
    assert 9 <= found["knee"] <= 11
    assert found["step"] == 1
    assert found["confirmed"]
    assert len(report["stages"]) <= 12
    assert report["slo"]["met"]
    assert report["summary"]["maxUsersWithinSlo"] == found["knee"]
    # the curve is that of such a queue: 40 requests/s at most, and waiting beyond 4 users
    levels = [point["level"] for point in found["curve"]]
    assert levels == sorted(levels)
    assert [levels[0], levels[-1]] == [1, 32]
    assert all(point["requestsPerSecond"] < 40.5 for point in found["curve"])
    assert found["curve"][-1]["p50"] == pytest.approx(32 / 4 * 100, rel=0.1)
    counted = sum(stage["requests"] + stage["discarded"] for stage in report["stages"])
    assert counted == len(served)


def test_worker_that_is_lost_is_said_and_the_others_take_over(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.1) as target:
        document = make_plan(target.url, [(8, 9.0)])
        master, first, second = runner.start_crew(document, 2)
        assert runner.progress(20)["workersConnected"] == 2
        first.kill()
        for process in (master, second):
            code, printed = runner.finish(process)
            assert code == 0, printed
        served = target.served()
    report = runner.read("report.json")
    assert (report["valid"]["status"], report["valid"]["reason"]) == (False, "WorkerLost")
    assert report["error"] is None
    # what the lost one had seen last is lost; before and after that there were eight users
    unseen = len(served) - report["summary"]["requests"]
    assert 0 <= unseen <= 4 * 60
    last = [s for s in served if s.arrived > served[-1].answered - 1.0]
    assert len(last) == pytest.approx(8 / 0.1, rel=0.25)
    assert runner.read("progress.json")["workersConnected"] == 1


def test_termination_of_the_master_stops_all_workers(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.1) as target:
        master, *workers = runner.start_crew(make_plan(target.url, [(8, 300.0)]), 2)
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
    # all but the answers that were on their way
    assert 0 <= len(served) - report["summary"]["requests"] <= 8


@pytest.mark.full
def test_workers_without_their_master_stop_the_load(make_plan: Any, runner: Any) -> None:
    with known_target(median=0.05) as target:
        master, *workers = runner.start_crew(make_plan(target.url, [(4, 300.0)]), 2)
        runner.progress(20)
        master.kill()
        for worker in workers:
            code, printed = runner.finish(worker)
            assert code == 1
            assert "MasterLost" in printed
        ended = len(target.served())
        assert len(target.served()) == ended


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
    assert 10 <= summary["discarded"] <= 12
    # it would have been about 60 without
    assert 120 <= summary["requests"] <= 180
    assert summary["requests"] + summary["discarded"] == len(served)
    # none of the warm-up was still under way when the load began
    warm, cold = served[: summary["discarded"]], served[summary["discarded"] :]
    assert max(s.answered for s in warm) < min(s.arrived for s in cold)
    first, last = report["stages"]
    assert first["durationSeconds"] == 0.5
    assert last["durationSeconds"] > 0.5


def test_client_that_is_the_bottleneck_says_so(make_plan: Any, runner: Any) -> None:
    # a target that answers at once, and every image of it is decoded
    with known_target(median=0.0) as target:
        report = runner.report(
            make_plan(target.url, [(64, 4.0)]) | {"request": {"decodeShare": 1.0}}
        )
    assert (report["valid"]["status"], report["valid"]["reason"]) == (False, "ClientSaturated")


def test_target_that_changes_under_load_makes_the_figures_invalid(serve: Any, runner: Any) -> None:
    server = serve(lambda _: (0.02, "ok"), about={"revision": "r1", "uptime_seconds": 500.0})
    process = runner.start(server.plan([(2, 4.0)]))
    runner.progress(10)
    server.about = {"revision": "r2", "uptime_seconds": 1.0}
    code, printed = runner.finish(process)
    assert code == 0, printed
    valid = runner.read("report.json")["valid"]
    assert (valid["status"], valid["reason"]) == (False, "TargetRestarted")
    assert "TargetChanged" in valid["also"]


def test_run_whose_every_request_fails_is_failed_and_not_valid(serve: Any, runner: Any) -> None:
    server = serve(lambda _: (0.01, "down"))
    report = runner.report(server.plan([(2, 1.0)], slo={"maxFailureRatio": 1.0}))
    assert report["error"]["reason"] == "AllRequestsFailed"
    assert report["valid"]["reason"] == "AllRequestsFailed"
    assert runner.read("progress.json")["state"] == "Failed"
