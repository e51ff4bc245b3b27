import random
import statistics

import pytest

from diffusion_loadtest.samples import SUCCESS, Sample, Samples, percentile


def test_percentile_of_known_values_is_the_nearest_rank() -> None:
    # the worked example of the nearest-rank method
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert [percentile(values, p) for p in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, p) for p in (50, 95, 99)] == [50, 95, 99]


def test_percentile_of_one_value_is_that_value_and_of_none_is_none() -> None:
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0
    assert percentile([], 50) is None


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 1000, 1001])
@pytest.mark.parametrize("percent", [1, 50, 95, 99, 99.9])
def test_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(
    count: int, percent: float
) -> None:
    chance = random.Random(count)
    values = sorted(chance.expovariate(1) for _ in range(count))
    found = percentile(values, percent)
    assert found is not None

    def covered(value: float) -> float:
        return 100 * sum(v <= value for v in values) / count

    assert covered(found) >= percent
    smaller = [v for v in values if v < found]
    assert not smaller or covered(smaller[-1]) < percent


def test_median_of_many_agrees_with_the_standard_library() -> None:
    chance = random.Random(1)
    values = sorted(chance.gauss(100, 15) for _ in range(1001))
    assert percentile(values, 50) == statistics.median(values)


def test_samples_come_back_as_they_were_recorded() -> None:
    samples = Samples()
    recorded = [
        Sample(0.123456789, 0.1, 0, SUCCESS),
        Sample(0.2, 0.05, 1, "Timeout"),
        Sample(0.3, 0.25, 99, SUCCESS),
        Sample(0.4, 0.05, 1, "Timeout"),
        Sample(0.5, 0.05, 1, "HTTP503"),
    ]
    for sample in recorded:
        samples.record(sample)
    assert list(samples) == recorded
    assert (len(samples), samples.failures) == (5, 3)
    assert samples.failures_by_kind() == {"Timeout": 2, "HTTP503": 1}


def test_successes_of_the_last_seconds_leave_out_failures_and_what_is_older() -> None:
    samples = Samples()
    for n in range(10):
        samples.record(Sample(float(n), 0.1, 0, "Timeout" if n == 8 else SUCCESS))
    assert samples.successes_since(5.0) == 3  # 6, 7 and 9
    assert samples.successes_since(-1.0) == 9
    assert samples.successes_since(9.0) == 0
