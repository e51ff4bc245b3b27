import math
import random
import statistics
from collections import Counter

import pytest

from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples


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
    result = percentile(values, percent)
    assert result is not None

    def covered(value: float) -> float:
        return 100 * sum(v <= value for v in values) / count

    assert covered(result) >= percent
    smaller = [v for v in values if v < result]
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
        Sample(0.3, 0.25, 99, SUCCESS, False, (1.5, 0.25, 80.0, 20.0, math.nan)),
        Sample(0.4, 0.05, 1, "Timeout"),
        Sample(0.5, 0.05, 1, "HTTP503", replica="demo-a"),
        Sample(0.6, 0.05, 1, SUCCESS, replica="demo-b"),
    ]
    for sample in recorded:
        samples.record(sample)
    assert list(map(comparable, samples)) == list(map(comparable, recorded))
    assert (len(samples), samples.failures) == (6, 3)
    assert samples.failures_by_kind() == {"Timeout": 2, "HTTP503": 1}


def test_latencies_of_the_last_seconds_leave_out_failures_and_older_samples() -> None:
    samples = Samples()
    for n in range(10):
        samples.record(Sample(float(n), 1.0 / (n + 1), 0, "Timeout" if n == 8 else SUCCESS))
    assert samples.since(5.0) == [1 / 10, 1 / 8, 1 / 7]  # of the samples 9, 7 and 6
    assert len(samples.since(-1.0)) == 9
    assert samples.since(9.0) == []


def test_samples_of_several_processes_become_one_in_order_of_time() -> None:
    chance = random.Random(2)
    kinds = [SUCCESS, SUCCESS, "Timeout", "HTTP500", "InvalidImage"]
    everything = []
    parts = [Samples() for _ in range(3)]
    for part in parts:
        for _ in range(2):  # each process sends its samples twice
            sent = Samples()
            chance.shuffle(kinds)
            for _ in range(50):
                name = chance.choice((None, "demo-a", "demo-b"))
                kind = chance.choice(kinds)
                sample = Sample(chance.random() * 60, 0.5, 1, kind, replica=name)
                everything.append(sample)
                sent.record(sample)
            part.add(sent.take())
            assert (len(sent), sent.failures) == (0, 0)
    merged = Samples.merged(parts)
    assert list(map(comparable, merged)) == sorted(map(comparable, everything))
    assert merged.failures == sum(sample.failure is not None for sample in everything)
    counted = Counter(sample.failure for sample in everything if sample.failure)
    assert merged.failures_by_kind() == counted


def test_stages_and_unmeasured_samples_can_be_told_apart() -> None:
    samples = Samples()
    for n in range(6):
        samples.record(Sample(float(n), n / 10, n % 2, SUCCESS if n else "Timeout", n > 3))
    assert [sample.ended for sample in samples.of_stage(1)] == [1.0, 3.0, 5.0]
    assert samples.only_measured().latencies() == [0.4, 0.5]
    assert samples.of_stage(0).failures_by_kind() == {"Timeout": 1}
    assert list(samples.success_ends()) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_server_with_endless_names_of_replicas_breaks_no_count() -> None:
    samples = Samples()
    for n in range(70_000):
        samples.record(Sample(float(n), 0.1, 0, SUCCESS, replica=f"name-{n}"))
    names = {sample.replica for sample in samples}
    assert None in names
    assert len(names) <= 5_000
    assert len(samples) == len(samples.latencies()) == 70_000


def comparable(sample: Sample) -> tuple[object, ...]:
    """A comparable form of a sample: unknown times equal themselves, 32-bit times are rounded."""
    timing = tuple(None if math.isnan(value) else round(value, 3) for value in sample.timing)
    failure, replica = sample.failure or "", sample.replica or ""
    return (sample.ended, sample.latency, sample.stage, failure, sample.measured, timing, replica)


def test_successes_within_a_window_are_those_after_its_start_until_its_end() -> None:
    samples = Samples()
    for ended, failure in [(1.0, SUCCESS), (2.0, SUCCESS), (2.5, "Timeout"), (3.0, SUCCESS)]:
        samples.record(Sample(ended, 0.1, 0, failure))
    assert samples.successes_within(1.0, 3.0) == 2
    assert samples.successes_within(0.0, 1.0) == 1
    assert samples.successes_within(3.0, 9.0) == 0


def test_selection_of_all_samples_is_a_copy() -> None:
    samples = Samples()
    first = Sample(1.0, 0.1, 0, "Timeout", timing=(1.0, 2.0, 3.0, 4.0, 5.0), replica="demo-a")
    samples.record(first)
    copy = samples.only_measured()
    samples.record(Sample(2.0, 0.1, 0, SUCCESS))
    assert list(copy) == [first]
    assert copy.failures == 1
