"""Twenty runs each on servers of known truth: figures within 1 %, and the right verdict in 19.

The truth is the server's law, or its own record of each request. The table of a full run, whose
servers take turns, since two at once would wait for each other's cores:
`pytest tests/contract/loadtest/test_known_truth.py -m full -rP -n 0`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from known_target import Served, known_target, nearest_rank

RUNS, RIGHT = 20, 19
CLOSE = 0.01
SECONDS = 6.0
SERVICE = 0.2
BATCHED_SECONDS = 20.0
"""The load on the server with batches: its window has 373 true draws for p95, and 62 for the median
without a deck, simulated apart. In SECONDS they are 84 and 18, fewer than the 59 that p95 needs."""
Report = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """The true figures of a run's window, and its true verdicts."""

    figures: dict[str, float]
    verdicts: dict[str, Any]


@dataclass(frozen=True)
class Server:
    """A server of known truth, and the load that measures it.

    Each part depends on whether the run's truth is good, which alternates over the runs.
    """

    behaviour: Callable[[bool], dict[str, Any]]
    load: Callable[[bool], dict[str, Any]]
    truth: Callable[[bool, Sequence[Served], float, Report], Truth]
    plan: Callable[[bool], dict[str, Any]] = field(default=lambda _: {})


def users(count: int, seconds: float = SECONDS, service: float = SERVICE) -> dict[str, Any]:
    """Users who start one after the other within one service time, so that none are in step.

    Users in step send all requests of a cycle at once: each burst delays its own members alike, so
    that a window has as many independent draws as it has cycles.
    """
    stages = [{"users": count, "durationSeconds": seconds}]
    return {"users": {"stages": stages, "spawnRate": count / service}}


def arrivals(rate: float, seconds: float = SECONDS) -> dict[str, Any]:
    stages = [{"ratePerSecond": rate, "durationSeconds": seconds}]
    return {"users": None, "arrivals": {"stages": stages, "distribution": "constant"}}


def p95_limit(*, is_good: bool, truth: float) -> dict[str, Any]:
    """An slo that the truth meets, or misses, by a wide margin."""
    return {"slo": {"p95Seconds": truth * (1.25 if is_good else 0.8)}}


def slo_verdicts(*, met: bool, reason: str = "BeyondSLO") -> dict[str, Any]:
    return {"valid": True, "met": met, "reason": "WithinSLO" if met else reason}


def window_of(served: Sequence[Served], begin: float, report: Report) -> tuple[float, float]:
    """The window by the server's clock; the load began at `begin`."""
    start = begin + report["window"]["measuredFromSeconds"]
    return start, start + report["window"]["measuredSeconds"]


def recorded(served: Sequence[Served], begin: float, report: Report) -> dict[str, float]:
    """The figures of the window, from the server's record of it.

    The ratio of failures is the whole run's: so few events would differ by the window's edges,
    which the two clocks place a millisecond apart.
    """
    start, end = window_of(served, begin, report)
    counted = [each for each in served if start <= each.arrived < end]
    took = [each.answered - each.arrived for each in counted if each.status == 200]
    arrived = sum(each.status == 200 and start < each.answered <= end for each in served)
    return {
        "p50": nearest_rank(took, 50) * 1000,
        "p95": nearest_rank(took, 95) * 1000,
        "p99": nearest_rank(took, 99) * 1000,
        "requestsPerSecond": arrived / (end - start),
        "failureRatio": sum(each.status != 200 for each in served) / len(served),
    }


def capacity(is_good: bool, served: Sequence[Served], begin: float, report: Report) -> Truth:
    """Sixteen slots of 0.2 s serve 80 requests/s, and no more."""
    rate = 60.0 if is_good else 80.0
    figures = recorded(served, begin, report) | {"requestsPerSecond": rate}
    return Truth(figures, slo_verdicts(met=is_good, reason="Overloaded"))


def latency_law(is_good: bool, served: Sequence[Served], begin: float, report: Report) -> Truth:
    """A law of latencies: of 100 requests 60 take 0.2 s, 30 0.4 s, 8 0.8 s, and two 1.6 s."""
    law = {"p50": 200.0, "p95": 800.0, "p99": 1600.0}
    return Truth(recorded(served, begin, report) | law, slo_verdicts(met=is_good))


def record_alone(is_good: bool, served: Sequence[Served], begin: float, report: Report) -> Truth:
    return Truth(recorded(served, begin, report), slo_verdicts(met=is_good))


def failures(kind: str) -> Callable[[bool, Sequence[Served], float, Report], Truth]:
    """A law of failures: of 250 requests one fails, which the slo allows, or twelve."""

    def truth(is_good: bool, served: Sequence[Served], begin: float, report: Report) -> Truth:
        failed = sum(each.status != 200 for each in served)
        verdicts = slo_verdicts(met=is_good) | {"kinds": {kind: failed}}
        return Truth(recorded(served, begin, report), verdicts)

    return truth


def replicas(is_good: bool, served: Sequence[Served], begin: float, report: Report) -> Truth:
    """Three replicas: their shares, and whether one of them got far more than a third."""
    start, end = window_of(served, begin, report)
    names = [each.replica for each in served if start <= each.arrived < end]
    shares = {name: names.count(name) / len(names) for name in sorted(set(names))}
    even = 1 / len(shares)
    chance = 3 * (even * (1 - even) / len(names)) ** 0.5
    uneven = max(shares.values()) > max(1.25 * even, even + chance)
    figures = recorded(served, begin, report) | {f"share of {n}": s for n, s in shares.items()}
    return Truth(figures, slo_verdicts(met=True) | {"uneven": uneven})


def gives_up(kind: str, *, is_good: bool) -> dict[str, Any]:
    ratio = 1 / 250 if is_good else 12 / 250
    return {"median": SERVICE, "deck": 250, "failure": kind, "failure_ratio": ratio}


BATCHES = {"levels": ((0.04, 9), (0.08, 1)), "deck": 10, "batch": 8}
LEVELS = {"levels": ((0.2, 60), (0.4, 30), (0.8, 8), (1.6, 2)), "deck": 100}
SLOW = {"median": SERVICE, "slow_start": 2.0}
SERVERS = {
    "capacity": Server(
        lambda _: {"median": SERVICE, "slots": 16},
        lambda is_good: arrivals(60.0 if is_good else 110.0),
        capacity,
        lambda _: {"slo": {"p95Seconds": 60.0}, "request": {"timeoutSeconds": 30.0}},
    ),
    "latency law": Server(
        lambda _: LEVELS,
        lambda _: users(60),
        latency_law,
        lambda is_good: p95_limit(is_good=is_good, truth=0.8),
    ),
    "failure law": Server(
        lambda is_good: gives_up("500", is_good=is_good),
        lambda _: users(40),
        failures("HTTP500"),
        lambda _: {"slo": {"p95Seconds": 5.0}},
    ),
    "batches": Server(
        lambda _: BATCHES,
        lambda _: users(64, BATCHED_SECONDS),
        record_alone,
        lambda is_good: p95_limit(is_good=is_good, truth=0.36),
    ),
    "replicas": Server(
        lambda _: {"median": 2 * SERVICE, "replicas": 3},
        lambda _: users(80, service=2 * SERVICE),
        replicas,
        lambda is_good: {
            "slo": {"p95Seconds": 5.0},
            "connections": {"reuse": "PerRequest" if is_good else "Always"},
        },
    ),
    "slow start": Server(
        lambda _: SLOW,
        lambda _: users(40),
        record_alone,
        lambda is_good: (
            p95_limit(is_good=is_good, truth=SERVICE) | {"warmup": {"durationSeconds": 2.0}}
        ),
    ),
    "resets": Server(
        lambda is_good: gives_up("reset", is_good=is_good),
        lambda _: users(40),
        failures("ConnectionError"),
        lambda _: {"slo": {"p95Seconds": 5.0}},
    ),
    "gzip": Server(
        lambda _: {"median": SERVICE, "gzip": True},
        lambda _: users(40),
        record_alone,
        lambda is_good: p95_limit(is_good=is_good, truth=SERVICE),
    ),
    "redirects": Server(
        lambda is_good: gives_up("307", is_good=is_good),
        lambda _: users(40),
        failures("HTTP307"),
        lambda _: {"slo": {"p95Seconds": 5.0}},
    ),
}


def verdicts_of(report: Report, truth: Truth) -> dict[str, Any]:
    """The report's verdicts, on the same questions as the truth's."""
    every = {
        "valid": report["valid"]["status"],
        "met": report["slo"]["met"],
        "reason": report["slo"]["reason"],
        "kinds": report["summary"]["failuresByKind"],
        "uneven": "of the requests instead of" in report["valid"]["message"],
    }
    return {name: every[name] for name in truth.verdicts}


def figures_of(report: Report) -> dict[str, float | None]:
    shares = {f"share of {each['name']}": each["share"] for each in report["replicas"]}
    whole = {"failureRatio": report["summary"]["failureRatio"]}
    return {**report["window"], **whole, **shares}


def errors_of(report: Report, truth: Truth) -> dict[str, float]:
    """The relative error of each figure; a ratio of none has its value instead."""
    figures, errors = figures_of(report), {}
    for name, true in truth.figures.items():
        value = figures.get(name)
        if value is not None:
            errors[name] = abs(value - true) / true if true else abs(value)
    return errors


def measured(server: Server, run: int, folder: Path, make_plan: Any, make_runner: Any) -> Any:
    is_good = run % 2 == 0
    with known_target(**server.behaviour(is_good), seed=run) as target:
        plan = make_plan(target.url, [], **server.load(is_good)) | server.plan(is_good)
        plan["test"] = {**plan["test"], "run": f"run-{run}"}
        report = make_runner(folder / str(run)).report(plan)
        served = target.served()
    # the warm-up's responses are all there before the load begins
    load = sorted(served, key=lambda each: each.answered)[report["summary"]["discarded"] :]
    return report, server.truth(is_good, load, min(each.arrived for each in load), report)


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SERVERS)
def test_figures_are_within_one_per_cent_and_verdicts_right_in_19_of_20_runs(
    name: str, tmp_path: Path, make_plan: Any, make_runner: Any
) -> None:
    server = SERVERS[name]
    results = [measured(server, run, tmp_path, make_plan, make_runner) for run in range(RUNS)]
    errors = [errors_of(report, truth) for report, truth in results]
    wrong = [
        (run, verdicts_of(report, truth), truth.verdicts, report["valid"]["message"])
        for run, (report, truth) in enumerate(results)
        if verdicts_of(report, truth) != truth.verdicts
    ]
    right = RUNS - len(wrong)
    worst = {
        figure: max(each.get(figure, 0.0) for each in errors)
        for figure in dict.fromkeys(figure for each in errors for figure in each)
    }
    for figure, error in worst.items():
        print(f"| {name} | {figure} | {error:.3%} | {right} of {RUNS} |")
    print(wrong)
    assert right >= RIGHT, wrong
    assert {figure: error for figure, error in worst.items() if error > CLOSE} == {}
