import random
import statistics
from itertools import pairwise

import pytest

from diffusion_loadtest.load.arrivals import arrival_times
from diffusion_loadtest.load.load_level import ArrivalRate, LoadLevel, worker_share


def arrivals(distribution: str, rate: float, end: float | None = 10.0) -> ArrivalRate:
    return ArrivalRate.model_validate(
        {"ratePerSecond": rate, "distribution": distribution, "begin": 0.0, "end": end}
    )


@pytest.mark.parametrize("users", [0, 1, 2, 3, 10, 100])
@pytest.mark.parametrize("workers", [1, 3, 7])
def test_users_are_shared_out_evenly_and_none_is_lost(users: int, workers: int) -> None:
    level = LoadLevel(stage=2, measured_from=1.5, users=users)
    shares = [worker_share(level, index, workers) for index in range(workers)]
    assert sum(part.users for part in shares) == users
    assert max(part.users for part in shares) - min(part.users for part in shares) <= 1
    assert {(part.stage, part.measured_from) for part in shares} == {(2, 1.5)}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_constant_arrivals_of_all_workers_are_equally_far_apart(workers: int) -> None:
    level = LoadLevel(stage=0, arrivals=arrivals("constant", 4.0))
    times = sorted(
        moment
        for index in range(workers)
        if (own := worker_share(level, index, workers).arrivals) is not None
        for moment in arrival_times(own, random.Random(index))
    )
    assert times == [number / 4 for number in range(40)]


def test_constant_arrivals_do_not_drift() -> None:
    rate = arrivals("constant", 3.0, end=None)
    moments = arrival_times(rate, random.Random(0))
    for number, moment in zip(range(30_001), moments, strict=False):
        last = (number, moment)
    assert last == (30_000, 10_000.0)


@pytest.mark.parametrize("workers", [1, 3])
def test_poisson_arrivals_come_at_the_rate_with_exponential_gaps(workers: int) -> None:
    level = LoadLevel(stage=0, arrivals=arrivals("poisson", 50.0, end=400.0))
    times = sorted(
        moment
        for index in range(workers)
        if (own := worker_share(level, index, workers).arrivals) is not None
        for moment in arrival_times(own, random.Random(f"w{index}"))
    )
    assert 0 < times[0] < times[-1] < 400
    # a Poisson count of mean 20,000 has the mean's square root as its standard deviation
    assert len(times) == pytest.approx(20_000, abs=4 * 20_000**0.5)
    gaps = [after - before for before, after in pairwise(times)]
    # an exponential distribution's deviation is its mean, and a share of 1/e exceeds the mean
    assert statistics.stdev(gaps) == pytest.approx(statistics.fmean(gaps), rel=0.05)
    longer = sum(gap > 1 / 50 for gap in gaps) / len(gaps)
    assert longer == pytest.approx(0.368, abs=0.02)


def test_arrivals_of_a_later_stage_begin_with_it() -> None:
    rate = arrivals("constant", 2.0).model_copy(update={"begin": 5.0, "end": 6.5})
    assert list(arrival_times(rate, random.Random(0))) == [5.0, 5.5, 6.0]
