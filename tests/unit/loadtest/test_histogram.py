import random

import pytest

from diffusion_loadtest.measure.histogram import MAX_RELATIVE_ERROR, histogram, histogram_percentile
from diffusion_loadtest.measure.percentiles import percentile


@pytest.mark.parametrize("scale", [0.0005, 0.05, 3.0, 900.0])
@pytest.mark.parametrize("percent", [1, 50, 95, 99, 99.9, 100])
def test_percentiles_of_the_histogram_are_within_its_error(scale: float, percent: float) -> None:
    chance = random.Random(4)
    values = sorted(chance.lognormvariate(0, 1) * scale for _ in range(5000))
    exact = percentile(values, percent)
    estimate = histogram_percentile(histogram(values), percent)
    assert exact is not None
    assert estimate is not None
    # values are rounded to the microsecond, so each is off by half a microsecond at most
    assert estimate == pytest.approx(exact * 1000, rel=MAX_RELATIVE_ERROR, abs=0.0005)


def test_buckets_are_ascending_and_lose_no_value() -> None:
    chance = random.Random(5)
    buckets = histogram(chance.uniform(0, 60) for _ in range(20_000))
    bounds = [bound for bound, _ in buckets]
    assert bounds == sorted(set(bounds))
    assert sum(count for _, count in buckets) == 20_000
    assert all(count > 0 for _, count in buckets)


def test_short_times_are_kept_to_the_microsecond() -> None:
    assert histogram([0.000001, 0.001234, 0.001234, 0.002047]) == (
        (0.001, 1),
        (1.234, 2),
        (2.047, 1),
    )


def test_histogram_of_nothing_is_empty() -> None:
    assert histogram([]) == ()
    assert histogram_percentile((), 50) is None
