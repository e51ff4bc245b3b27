"""Batches of responses, and verdicts on targets whose batches take equal times."""

import random

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample
from diffusion_loadtest.report.batches import batches
from diffusion_loadtest.report.load_report import Report
from window_reports import report

SECONDS = 20.0
SETTLED = 0.8


def equal_batches(count: int, size: int) -> list[Sample]:
    """Responses in batches that take 0.4 s each, as those of a GPU do, to within 0.1 %."""
    chance = random.Random(f"{count}/{size}")
    number = count // size
    samples = []
    for place in range(number):
        start = SECONDS * (1 - SETTLED + SETTLED * (place + 0.5) / number)
        for member in range(size):
            latency = 0.4 * chance.uniform(1.0, 1.001)
            samples.append(Sample(start + latency + member / 1e6, latency, 0, SUCCESS))
    return samples


def run(samples: list[Sample]) -> Report:
    return report([(4, SECONDS)], samples, slo={"p95Seconds": 1.0})


def test_eight_batches_of_equal_times_are_eight_draws() -> None:
    """One batch in ten may be slow: eight show none of them in 43 % of runs."""
    result = run(equal_batches(64, 8))
    assert result.window is not None
    assert result.window.intervals["p95"].draws == 8
    assert result.window.intervals["p95"].high is None
    assert (result.valid.status, result.valid.reason) == (False, "TooFewSamples")
    assert result.summary.max_users_within_slo is None


def test_a_batch_of_equal_times_beside_one_late_response_is_no_proof() -> None:
    samples = equal_batches(64, 8)
    late = samples[20]._replace(latency=samples[20].latency + 0.1)
    result = run([*samples[:20], late, *samples[21:]])
    assert result.valid.reason == "TooFewSamples"


def test_enough_batches_of_equal_times_are_valid() -> None:
    assert run(equal_batches(800, 8)).valid.status
    assert run(equal_batches(64, 1)).valid.status


@pytest.mark.parametrize("count", [60, 300, 2000])
def test_responses_that_come_by_chance_are_no_batches(count: int) -> None:
    for seed in range(100):
        chance = random.Random(seed)
        ends = sorted(chance.uniform(0.0, 60.0) for _ in range(count))
        assert batches(ends) == count


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("replicas", [1, 3])
def test_batches_of_several_replicas_are_counted(size: int, replicas: int) -> None:
    chance = random.Random(size)
    ends = []
    for _ in range(replicas):
        begin = chance.random()
        ends += [begin + 0.4 * n + 0.0003 * member for n in range(100) for member in range(size)]
    assert batches(sorted(ends)) == pytest.approx(100 * replicas, rel=0.05)


def test_few_responses_have_no_distance() -> None:
    assert [batches(ends) for ends in ([], [1.0], [1.0, 1.0], [1.0, 2.0])] == [0, 1, 1, 2]
