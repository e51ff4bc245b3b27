"""Arrival times of the open loop: pure functions of rate and randomness."""

from collections.abc import Iterator
from itertools import count
from random import Random

from diffusion_loadtest.load.load_level import ArrivalRate


def arrival_times(arrivals: ArrivalRate, random: Random) -> Iterator[float]:
    """Yields the moments at which one worker's requests are due, in seconds into the load.

    A constant rate has one request each 1/rate seconds, and the workers take turns. A Poisson
    process has exponential gaps; the sum of independent Poisson processes is a Poisson process of
    the sum of their rates, so each worker draws its own.
    """
    constant = arrivals.distribution == "constant"
    for moment in _constant(arrivals) if constant else _poisson(arrivals, random):
        if arrivals.end is not None and moment >= arrivals.end:
            return
        yield moment


def _constant(arrivals: ArrivalRate) -> Iterator[float]:
    for number in count(arrivals.index, arrivals.of):
        # a product for each moment, since a sum of gaps would drift
        yield arrivals.begin + number / arrivals.rate_per_second


def _poisson(arrivals: ArrivalRate, random: Random) -> Iterator[float]:
    moment = arrivals.begin
    while True:
        moment += random.expovariate(arrivals.rate_per_second / arrivals.of)
        yield moment
