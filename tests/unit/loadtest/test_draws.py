"""Verdicts on latencies in batches: a percentile needs independent draws, not responses."""

import random

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample
from diffusion_loadtest.report.load_report import Report
from diffusion_loadtest.report.validity import needed_samples
from window_reports import report

LIMIT = 1.0
SLOW_SHARE = 0.10
"""Share of batches that take longer than LIMIT, so that the true p95 is beyond it."""
SECONDS = 20.0
SETTLED = 0.8
"""Share of a stage that is left after its settling."""
RUNS = 100


def batched(seed: int, count: int, size: int, slow_share: float = SLOW_SHARE) -> list[Sample]:
    """Responses of one stage that come in batches; a slow batch takes 2 s, another one 0.5 s."""
    chance = random.Random(f"{seed}/{count}/{size}")
    batches = -(-count // size)
    samples = []
    for number in range(batches):
        latency = (2.0 if chance.random() < slow_share else 0.5) * chance.uniform(0.95, 1.05)
        start = SECONDS * (1 - SETTLED + SETTLED * (number + 0.5) / batches)
        samples += [
            Sample(start + latency + place / 1e6, latency, 0, SUCCESS) for place in range(size)
        ]
    return samples[:count]


def run(samples: list[Sample], limit: str = "p95Seconds") -> Report:
    return report([(4, SECONDS)], samples, slo={limit: LIMIT})


def is_approved(result: Report) -> bool:
    """Whether the run is Valid and met its objective, as a gate demands."""
    return result.valid.status and result.slo is not None and result.slo.met


@pytest.mark.parametrize("count", [64, 120])
def test_a_slow_target_is_seldom_approved_after_a_few_batches(count: int) -> None:
    """Chance of no slow batch: 43 % of runs with 8 batches, 21 % with 15."""
    approved = sum(is_approved(run(batched(seed, count, 8))) for seed in range(RUNS))
    assert approved <= 5


def test_a_fast_target_is_approved_once_there_are_enough_batches() -> None:
    approved = sum(is_approved(run(batched(seed, 1000, 8, 0.02))) for seed in range(RUNS))
    assert approved >= 95


def test_responses_that_are_independent_are_approved_from_the_least_number_on() -> None:
    least = needed_samples(None) + 10
    approved = sum(is_approved(run(batched(seed, least, 1, 0.0))) for seed in range(RUNS))
    assert approved >= 95


def test_the_verdict_says_how_long_to_measure() -> None:
    result = run(spread(64, 8))
    assert result.valid.reason == "TooFewSamples"
    words = result.valid.message.split()
    assert "p95" in words
    # 8 batches in 16 s; the estimate of 8 draws is right within a factor of two
    enough = 59 / 8 * 16
    assert enough / 2 <= float(words[words.index("s") - 1]) <= enough * 2


def spread(count: int, size: int) -> list[Sample]:
    """Responses in batches that each take another time, all within LIMIT."""
    chance = random.Random(f"{count}/{size}")
    batches = count // size
    samples = []
    for number in range(batches):
        latency = chance.uniform(0.2, 0.8)
        start = SECONDS * (1 - SETTLED + SETTLED * (number + 0.5) / batches)
        samples += [
            Sample(start + latency + place / 1e6, latency + place / 1e6, 0, SUCCESS)
            for place in range(size)
        ]
    return samples


def test_a_stage_of_a_few_batches_is_not_within_the_slo() -> None:
    result = run(spread(64, 8))
    assert result.stages[0].within_slo is None
    assert result.summary.max_users_within_slo is None


def test_a_target_beyond_its_limit_stays_beyond_it_after_a_few_batches() -> None:
    result = run(batched(1, 64, 8, slow_share=1.0))
    assert result.slo is not None
    assert not result.slo.met
    assert result.valid.status


def test_a_median_needs_few_draws() -> None:
    assert run(spread(64, 8), "p50Seconds").valid.status


def test_without_a_latency_limit_no_percentile_is_judged() -> None:
    assert run(spread(64, 8), "maxFailureRatio").valid.status
