"""Intervals of percentiles, for latencies in batches whose true percentiles are known."""

import math
import random
from statistics import NormalDist

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.report.figures import percentiles
from diffusion_loadtest.report.intervals import (
    independent_draws,
    interval,
    intervals,
    needed_draws,
    ranks,
)
from diffusion_loadtest.report.validity import Observations, validity

SIGMA = 0.4
RUNS = 100


def in_batches(seed: int, count: int, size: int) -> list[float]:
    """Latencies in seconds: log-normal from batch to batch, and alike within one."""
    chance = random.Random(f"{seed}/{count}/{size}")
    latencies: list[float] = []
    while len(latencies) < count:
        batch = chance.lognormvariate(0.0, SIGMA)
        latencies += [batch * chance.uniform(0.999, 1.001) for _ in range(size)]
    return latencies[:count]


def truth(percent: int) -> float:
    """The percentile of the log-normal distribution in milliseconds."""
    return 1000 * math.exp(SIGMA * NormalDist().inv_cdf(percent / 100))


@pytest.mark.parametrize("size", [1, 4, 8])
@pytest.mark.parametrize("count", [59, 240, 1000])
@pytest.mark.parametrize("percent", [50, 95])
def test_interval_holds_the_true_percentile(size: int, count: int, percent: int) -> None:
    inside = 0
    for seed in range(RUNS):
        result = interval(in_batches(seed, count, size), percent)
        assert result is not None
        inside += (result.low or 0.0) <= truth(percent) <= (result.high or math.inf)
    # Of 100 intervals at 95 %, fewer than 88 hold the truth once in 400 times.
    assert inside >= 88


def test_batches_of_eight_count_as_one_draw_each() -> None:
    for count in (240, 1000):
        draws = [independent_draws(in_batches(seed, count, 8), 50) for seed in range(RUNS)]
        assert sum(draws) / RUNS == pytest.approx(count / 8, rel=0.1)
    alone = [independent_draws(in_batches(seed, 240, 1), 50) for seed in range(RUNS)]
    assert sum(alone) / RUNS > 0.85 * 240


def test_the_order_of_equal_latencies_is_no_dependence() -> None:
    """A machine pauses for a millisecond now and then, and the responses after it are late."""
    chance = random.Random(1)
    late = [chance.random() < 0.5 for _ in range(40)]
    latencies = [
        0.4 + 0.001 * pause + 0.0001 * chance.random() for pause in late for _ in range(20)
    ]
    for percent in (50, 95):
        assert independent_draws(latencies, percent) == len(latencies)


def test_batches_of_two_equal_times_count_as_one_draw_each() -> None:
    """Most take the longer time, so that none exceeds the median."""
    chance = random.Random(1)
    times = [0.8 if chance.random() < 0.6 else 0.4 for _ in range(100)]
    latencies = [time * chance.uniform(1.0, 1.001) for time in times for _ in range(8)]
    assert independent_draws(latencies, 50) == pytest.approx(100, rel=0.2)


def test_fifty_nine_responses_in_batches_bound_no_p95() -> None:
    result = interval(in_batches(1, 59, 8), 95)
    assert result is not None
    assert result.draws < 20
    assert result.high is None


def test_ranks_are_those_of_the_binomial_distribution() -> None:
    # In the textbooks' table, the median of 100 lies between the 40th and the 61st at 95 %.
    assert ranks(100, 0.5) == (40, 61)
    # The largest of 72 exceeds the 95th percentile with 97.5 %, and that of 71 doesn't.
    assert ranks(72, 0.95)[1] is None or 0.95**72 <= 0.025
    assert ranks(71, 0.95)[1] is None
    assert ranks(1, 0.5) == (None, None)
    # The normal approximation continues where the exact ranks end.
    low, high = ranks(401, 0.95)
    exact_low, exact_high = ranks(400, 0.95)
    assert low is not None
    assert high is not None
    assert exact_low is not None
    assert exact_high is not None
    assert abs(low - exact_low) <= 2
    assert abs(high - exact_high) <= 3


def test_p99_is_left_out_with_too_few_successes() -> None:
    assert (needed_draws(0.95), needed_draws(0.99)) == (59, 299)
    assert percentiles([0.1] * 298).p99 is None
    assert percentiles([0.1] * 299).p99 == 100.0
    assert percentiles([0.1] * 59).p95 == 100.0
    assert set(intervals([0.1, 0.2] * 30)) == {"p50", "p95"}
    assert set(intervals([0.1, 0.2] * 150)) == {"p50", "p95", "p99"}
    assert intervals([]) == {}
    few = validity(Observations(client_usage=(), successes=59), None, None)
    assert few.status
    assert "p99 is left out, since it needs 299" in few.message
    enough = validity(Observations(client_usage=(), successes=299), None, None)
    assert "p99" not in enough.message


def test_equal_latencies_have_one_value() -> None:
    result = interval([0.5] * 100, 50)
    assert result is not None
    assert (result.low, result.high, result.draws) == (500.0, 500.0, 100)


def test_latencies_by_end_are_in_the_order_in_which_requests_ended() -> None:
    samples = Samples()
    for ended, latency, failure in ((1.0, 0.3, SUCCESS), (2.0, 0.1, "X"), (3.0, 0.2, SUCCESS)):
        samples.record(Sample(ended, latency, 0, failure))
    assert samples.latencies_by_end() == [0.3, 0.2]
