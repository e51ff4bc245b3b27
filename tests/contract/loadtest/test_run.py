"""The figures of real runs, compared with the target's own records."""

import json
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

import pytest

from known_target import nearest_rank, noise
from waiting import eventually

PAGE = "http://127.0.0.1:8089"


def test_requests_and_failures_are_those_that_the_target_counted(mixed_run: Any) -> None:
    summary = mixed_run.report["summary"]
    expected: Counter[str] = Counter()
    for outcome, count in mixed_run.server.outcomes().items():
        if outcome != "ok":
            expected[mixed_run.kinds[outcome]] += count
    assert len(expected) >= 4, "the seed gives too few kinds for this to show anything"
    assert summary["failuresByKind"] == expected
    assert summary["failures"] == sum(expected.values())
    assert summary["requests"] == len(mixed_run.server.served)
    assert summary["maxUsers"] == mixed_run.server.busiest == 12
    about = {"backend": "fastapi", "revision": "r1"}
    target = mixed_run.report["target"]
    assert (target["url"], target["about"]) == (mixed_run.server.url, about)
    # The fields of every request and the reuse of connections are part of the fingerprint.
    requested = {"steps": "4", "width": "128", "height": "128", "connections": "10s"}
    assert target["fingerprint"] == about | requested
    assert mixed_run.report["error"] is None


def test_latencies_are_those_that_the_target_saw(mixed_run: Any) -> None:
    summary = mixed_run.report["summary"]
    good = [s for s in mixed_run.server.served if s.outcome == "ok"]
    took = [(s.answered - s.arrived) * 1000 for s in good]
    close = 5 + 1000 * noise([s.answered - s.arrived - s.delay for s in good])
    assert summary["p50"] == pytest.approx(nearest_rank(took, 50), rel=0.01, abs=close)
    assert summary["p95"] == pytest.approx(nearest_rank(took, 95), rel=0.01, abs=close)
    assert summary["p50"] < summary["p95"] < summary["max"]


def test_rates_are_those_that_the_target_saw(mixed_run: Any) -> None:
    summary = mixed_run.report["summary"]
    served = mixed_run.server.served
    good = [s.answered for s in served if s.outcome == "ok"]
    begin = min(s.arrived for s in served)
    late = noise([s.answered - s.arrived - s.delay for s in served if s.outcome == "ok"])
    arrived = sum(answered <= begin + 5.0 for answered in good)
    assert summary["requestsPerSecond"] == pytest.approx(arrived / 5.0, rel=0.02 + late / 5.0)
    assert summary["peakRequestsPerSecond"] == summary["requestsPerSecond"]  # shorter than 10 s
    points = mixed_run.report["timeline"]
    ends = [*(p["t"] for p in points[1:]), max(good) - begin]
    arrived = sum(
        p["requestsPerSecond"] * (end - p["t"]) for p, end in zip(points, ends, strict=True)
    )
    assert arrived == pytest.approx(len(good), rel=0.01)


def test_prompts_vary_and_stay_out_of_all_that_is_published(mixed_run: Any) -> None:
    assert {s.prompt for s in mixed_run.server.served} == set(mixed_run.prompts)
    assert len(mixed_run.published) == 3
    assert not any("secret scene" in text for text in mixed_run.published)


def test_stages_are_reached_at_the_spawn_rate_and_left_again(serve: Any, runner: Any) -> None:
    server = serve(lambda _: (0.05, "ok"))
    document = server.plan([(2, 2.0), (8, 4.0), (1, 6.0)])
    document["users"]["spawnRate"] = 2.0
    report = runner.report(document)

    assert [s["users"] for s in report["stages"]] == [2, 8, 1]
    assert sum(s["requests"] + s["discarded"] for s in report["stages"]) == len(server.served)
    assert server.busiest == 8
    # Users: one more every 0.5 s from second 2 on, one less from second 6 on. A busy machine may be
    # half a second late.
    users = [point["users"] for point in report["timeline"]][:10]
    assert users == pytest.approx([2, 2, 4.5, 6.5, 8, 8, 7.5, 5.5, 3.5, 1.5], abs=1.6)
    # In a closed loop of constant latency, rates are proportional to the users after the ramp.
    first, second, third = (s["requestsPerSecond"] for s in report["stages"])
    assert second / first == pytest.approx(8 / 2, rel=0.25)
    assert third / first == pytest.approx(1 / 2, rel=0.25)


def test_answers_after_the_last_stage_are_awaited(serve: Any, runner: Any) -> None:
    server = serve(lambda n: (1.5, "ok") if n else (60.0, "stall"))
    document = server.plan([(3, 1.0)])
    document["request"]["timeoutSeconds"] = 2.5
    report = runner.report(document)

    assert report["summary"]["failuresByKind"] == {"Timeout": 1}
    assert report["summary"]["requests"] == 3
    # No response arrived in the second of the load, and the latencies of both successes count.
    assert report["summary"]["requestsPerSecond"] == 0.0
    assert report["summary"]["seconds"] == 1.0
    assert report["summary"]["p50"] == pytest.approx(1500, abs=500)
    assert sum(count for _, count in report["histogram"]["buckets"]) == 2
    # The timeline lasts until the last success at 1.5 s, not until the timeout at 2.5 s.
    assert sum(point["requestsPerSecond"] > 0 for point in report["timeline"]) == 1


def test_think_time_spaces_requests(serve: Any, runner: Any) -> None:
    server = serve(lambda _: (0.0, "ok"))
    think = {"minSeconds": 0.4, "maxSeconds": 0.6}
    report = runner.report(server.plan([(1, 2.0)], think=think))
    gaps = [
        after.arrived - before.answered
        for before, after in zip(server.served, server.served[1:], strict=False)
    ]
    assert min(gaps) >= 0.4
    assert sorted(gaps)[len(gaps) // 2] < 0.9
    assert report["summary"]["requests"] == len(gaps) + 1 >= 3


def test_run_begins_once_the_target_is_ready(serve: Any, runner: Any) -> None:
    server = serve(lambda _: (0.01, "ok"), ready=False)
    process = runner.start(server.plan([(1, 0.5)]))
    eventually((runner.out / "progress.json").exists, what="progress is published")
    waiting = runner.read("progress.json")
    assert (waiting["state"], waiting["requests"], waiting["stage"]) == ("Waiting", 0, 0)
    assert server.served == []

    server.ready = True
    code, printed = runner.finish(process)
    assert code == 0, printed
    assert runner.read("progress.json")["state"] == "Finished"
    assert runner.read("report.json")["summary"]["requests"] == len(server.served) > 0


def test_termination_stops_the_load_and_keeps_the_figures(serve: Any, runner: Any) -> None:
    # One request in 20 never ends; the end of the run must not wait for it.
    server = serve(lambda n: (60.0, "stall") if n % 20 == 19 else (0.05, "ok"))
    process = runner.start(server.plan([(4, 120.0)]))
    eventually(lambda: len(server.served) >= 30, what="load arrives")
    process.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    code, printed = runner.finish(process)

    assert code == 0, printed
    assert time.monotonic() - signalled < 10
    report = runner.read("report.json")
    assert report["error"]["reason"] == "Interrupted"
    assert report["summary"]["failures"] == 0
    # Only requests that were in flight at the signal, or hang, may be missing.
    assert 0 <= server.outcomes()["ok"] - report["summary"]["requests"] <= 4
    assert runner.read("progress.json")["state"] == "Failed"


def test_impossible_plan_ends_with_a_sentence_in_the_termination_log(
    runner: Any, make_plan: Any
) -> None:
    document = make_plan("ftp://somewhere", [(0, 1.0)])
    code, _ = runner.finish(runner.start(document))
    assert code == 2
    message = json.loads(runner.termination_log.read_text())
    assert message["reason"] == "InvalidPlan"
    assert "target.url: write it as http://HOST" in message["message"]
    assert "users.stages.0.users: input should be greater than or equal to 1" in message["message"]
    assert not runner.out.exists()


def test_page_is_read_only(serve: Any, runner: Any) -> None:
    server = serve(lambda _: (0.05, "ok"))
    process = runner.start(server.plan([(3, 120.0)], webUi=True))
    runner.progress(20)
    with urllib.request.urlopen(f"{PAGE}/stats/requests", timeout=10) as answer:
        shown = json.load(answer)
    assert shown["user_count"] == 3
    assert shown["stats"][0]["num_requests"] >= 20
    change = urllib.request.Request(f"{PAGE}/swarm", b"user_count=9&spawn_rate=9", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(change, timeout=10)
    assert refused.value.code == 405
    process.send_signal(signal.SIGTERM)
    code, printed = runner.finish(process)
    assert code == 0, printed
    assert runner.read("report.json")["summary"]["maxUsers"] == 3


def test_page_stays_after_the_report_until_someone_ends_it(serve: Any, runner: Any) -> None:
    process = runner.start(serve(lambda _: (0.05, "ok")).plan([(3, 0.5)], webUi=True))
    eventually(
        lambda: process.poll() is not None or (runner.out / "report.json").exists(),
        what="the report",
    )
    assert process.poll() is None
    with urllib.request.urlopen(PAGE, timeout=10) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    code, printed = runner.finish(process)
    assert code == 0, printed
    report = runner.read("report.json")
    assert report["error"] is None
    assert report["summary"]["maxUsers"] == 3


@pytest.mark.full
def test_more_than_a_thousand_users_keep_their_connections(serve: Any, runner: Any) -> None:
    server = serve(lambda _: (1.2, "ok"))
    plan = server.plan([(1100, 4.0)], connections={"reuse": "Always"})
    report = runner.report(plan | {"request": {"timeoutSeconds": 30.0}})
    assert report["summary"]["failures"] == 0
    assert report["summary"]["requests"] > 2 * 1100
    # one for the readiness and one for each look at /about, besides those of the users
    assert 1100 <= server.connections <= 1105
