"""A target sustains a load if it answers what arrives: simulated servers of known capacity.

The servers and their arrivals are independent of the code under test.
"""

import heapq
import math
import random
from collections.abc import Callable
from statistics import median

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.plan.load_plan import Search, Slo
from diffusion_loadtest.plan.search import MAX_PROBES, Knee, Probe, knee, next_level
from diffusion_loadtest.report.figures import Window
from diffusion_loadtest.report.judgement import judge_window, probe_result
from diffusion_loadtest.report.load_report import SloVerdict
from diffusion_loadtest.report.overload import mann_kendall, overload

CAPACITY = 20.0
SLO = Slo(p95_seconds=8.0)
PROBE, SETTLE = 60.0, 12.0

Service = Callable[[random.Random], float]


def always(_: random.Random) -> float:
    return 1.0


def poisson(chance: random.Random, rate: float, seconds: float) -> list[float]:
    starts, moment = [], chance.expovariate(rate)
    while moment < seconds:
        starts.append(moment)
        moment += chance.expovariate(rate)
    return starts


def served(
    starts: list[float], chance: random.Random, servers: int = 1, service: Service = always
) -> list[tuple[float, float]]:
    """Start and end of each request: a queue of a mean capacity of CAPACITY."""
    free = [0.0] * servers
    spans = []
    for start in starts:
        begin = max(start, heapq.heappop(free))
        end = begin + service(chance) * servers / CAPACITY
        heapq.heappush(free, end)
        spans.append((start, end))
    return spans


def in_batches(starts: list[float], size: int = 8) -> list[tuple[float, float]]:
    """A server that answers up to `size` requests at once, each batch in one time."""
    spans, place, now = [], 0, 0.0
    while place < len(starts):
        now = max(now, starts[place])
        batch = [start for start in starts[place : place + size] if start <= now]
        now += size / CAPACITY
        spans += [(start, now) for start in batch]
        place += len(batch)
    return spans


def recorded(spans: list[tuple[float, float]], measured: float = SETTLE) -> Samples:
    samples = Samples()
    for start, end in sorted(spans, key=lambda span: span[1]):
        samples.record(Sample(end, end - start, 0, SUCCESS, start >= measured))
    return samples


def window(rate: float) -> Window:
    return Window(0, SETTLE, SETTLE + PROBE, 0, rate)


def probed(rate: float, seed: str, kind: str) -> tuple[Samples, Window]:
    chance = random.Random(f"{seed}/{rate}/{kind}")
    starts = poisson(chance, rate, SETTLE + PROBE)
    if kind == "batches":
        return recorded(in_batches(starts)), window(rate)
    servers, service = {
        "constant": (1, always),
        "exponential": (1, lambda c: c.expovariate(1.0)),
        "replicas": (9, lambda c: c.lognormvariate(-0.08, 0.4)),
    }[kind]
    return recorded(served(starts, chance, servers, service)), window(rate)


KINDS = ("constant", "exponential", "replicas", "batches")


@pytest.mark.parametrize("kind", KINDS)
def test_load_of_a_tenth_above_the_capacity_is_overload_and_four_fifths_are_not(kind: str) -> None:
    over = [overload(*probed(1.1 * CAPACITY, str(seed), kind)) for seed in range(20)]
    under = [overload(*probed(0.8 * CAPACITY, str(seed), kind)) for seed in range(20)]
    assert sum(each is not None for each in over) >= 19
    assert sum(each is None for each in under) >= 19


def judged(samples: Samples, measured: Window, slo: Slo = SLO) -> SloVerdict:
    return judge_window(slo, samples, measured, overload(samples, measured))


def search_of(kind: str, seed: int, slo: Slo = SLO) -> tuple[Knee, list[Probe]]:
    search = Search.model_validate({"over": "rate", "min": 8.0, "max": 40.0, "probeSeconds": PROBE})
    probes: list[Probe] = []
    while (level := next_level(search, probes)) is not None:
        samples, measured = probed(level, f"{seed}-{len(probes)}", kind)
        probes.append(probe_result(search, slo, samples, measured, level))
    return knee(search, probes), probes


@pytest.mark.parametrize("kind", KINDS)
def test_search_finds_no_knee_above_the_capacity(kind: str) -> None:
    results = [search_of(kind, seed) for seed in range(20)]
    ratios = [result.load / CAPACITY for result, _ in results if result.load is not None]
    assert len(ratios) == 20
    # The service times of a probe are 1200 draws: the throughput of a random server in a minute or
    # two scatters by 2 % where they're exponential, and not at all where they're constant.
    chance = 1.04 if kind == "exponential" else 1.01
    assert sum(ratio <= chance for ratio in ratios) >= 19, sorted(ratios)
    assert sum(ratio >= 0.85 for ratio in ratios) >= 19, sorted(ratios)
    assert median(ratios) == pytest.approx(0.97, abs=0.05)
    assert all(len(probes) <= MAX_PROBES for _, probes in results)
    assert sum(result.confirmed for result, _ in results) >= 19


def test_objective_on_failures_does_not_hide_a_backlog() -> None:
    # Every limit is met: no request fails, and p95 is 3 s after a minute, but grows without end.
    samples, measured = probed(1.05 * CAPACITY, "a", "constant")
    verdict = judged(samples, measured, Slo(p95_seconds=60.0))
    assert (verdict.met, verdict.reason) == (False, "Overloaded")
    assert "requests/s" in verdict.message or "latency grew" in verdict.message
    assert all(check.met for check in verdict.checks)


def test_overload_is_a_verdict_on_arrivals_and_never_on_users() -> None:
    samples, measured = probed(1.1 * CAPACITY, "a", "constant")
    assert overload(samples, measured) is not None
    assert overload(samples, measured._replace(rate=None)) is None
    assert judged(samples, measured._replace(rate=None)).met


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("latency", [0.5, 8.0])
def test_few_and_slow_requests_are_no_overload(rate: float, latency: float) -> None:
    # There are as many servers as requests, so the number in flight changes only by chance.
    overloaded = 0
    for seed in range(40):
        chance = random.Random(seed)
        starts = poisson(chance, rate, SETTLE + PROBE)
        spans = [(s, s + latency * chance.uniform(0.7, 1.3)) for s in starts]
        overloaded += overload(recorded(spans), window(rate)) is not None
    assert overloaded <= 4


def test_failure_ratio_judges_shed_requests() -> None:
    # The server refuses a tenth at once, so requests in flight don't grow.
    samples = Samples()
    for n in range(2200):
        failure = "HTTP503" if n % 10 == 0 else SUCCESS
        samples.record(Sample(n / 22 + 0.05, 0.05, 0, failure))
    assert overload(samples, window(22.0)) is None
    assert judged(samples, window(22.0)).reason == "BeyondSLO"
    allowed = Slo(p50_seconds=8.0, max_failure_ratio=0.2)
    assert judged(samples, window(22.0), allowed).met


def test_stage_that_answers_the_backlog_of_the_one_before_is_not_overloaded() -> None:
    backlog = [(4.0, 12.0 + n / 20) for n in range(100)]
    own = [(12.0 + n / 10, 12.0 + n / 10 + 0.2) for n in range(600)]
    assert overload(recorded([*backlog, *own]), window(10.0)) is None


def test_one_blip_does_not_end_a_search() -> None:
    search = Search.model_validate({"over": "rate", "min": 1.0, "max": 100.0, "probeSeconds": 60})
    for blip in range(12):
        probes: list[Probe] = []
        while (level := next_level(search, probes)) is not None:
            probes.append(Probe(level, level <= 37.0 and len(probes) != blip))
        result = knee(search, probes)
        assert result.level is not None
        assert result.level == pytest.approx(37.0, rel=0.025)
        assert result.confirmed


def test_two_equal_probes_decide_a_level() -> None:
    search = Search.model_validate({"over": "users", "min": 4, "max": 8, "probeSeconds": 60})
    assert next_level(search, [Probe(4, within=False)]) == 4
    assert next_level(search, [Probe(4, within=False)] * 2) is None
    assert next_level(search, [Probe(4, within=False), Probe(4, within=True)]) == 4
    held = [Probe(4, within=False), Probe(4, within=True), Probe(4, within=True)]
    assert next_level(search, held) == 5
    lost = [Probe(4, within=True), Probe(5, within=True), Probe(5, within=False)]
    assert knee(search, lost).level == 4


def test_knee_is_no_more_than_the_target_delivered() -> None:
    search = Search.model_validate({"over": "rate", "min": 1.0, "max": 40.0, "probeSeconds": 60})
    probes = [Probe(20.5, True, 19.9), Probe(20.5, True, 20.1), Probe(21.0, False, 20.0)]
    result = knee(search, probes)
    assert (result.level, result.load) == (20.5, 20.0)
    assert result.step == pytest.approx(1.0)


def test_failures_that_the_slo_allows_do_not_lower_the_knee() -> None:
    search = Search.model_validate({"over": "rate", "min": 8.0, "max": 40.0, "probeSeconds": PROBE})
    samples = Samples()
    for n in range(1584):
        failure = "HTTP503" if n % 20 == 0 else SUCCESS
        samples.record(Sample(n / 22 + 0.05, 0.05, 0, failure, n / 22 >= SETTLE))
    allowed = Slo(p50_seconds=8.0, max_failure_ratio=0.1)
    probe = probe_result(search, allowed, samples, window(22.0), 22.0)
    assert probe.within
    assert probe.delivered == pytest.approx(22.0, rel=0.001)
    assert knee(search, [probe, probe]).load == pytest.approx(22.0, rel=0.001)


def test_statistic_of_mann_and_kendall() -> None:
    # For n = 10 without ties, S is 45 at most, and its variance is 10 * 9 * 25 / 18 = 125
    assert mann_kendall(range(10)) == pytest.approx(45 / math.sqrt(125))
    assert mann_kendall(range(10, 0, -1)) == pytest.approx(-45 / math.sqrt(125))
    assert mann_kendall([1.0] * 10) == 0.0
    assert mann_kendall([1.0]) == 0.0
