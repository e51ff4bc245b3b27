"""When requests of the open loop are due: pure functions of rate and chance."""

from collections.abc import Iterator
from itertools import count
from random import Random

from diffusion_loadtest.load.load_level import ArrivalOrder


def arrival_times(order: ArrivalOrder, random: Random) -> Iterator[float]:
    """The moments, in seconds into the load, at which one worker's requests are due, ascending.

    Constant: one each 1/rate seconds, the workers taking turns. Poisson: exponential gaps; the sum
    of independent Poisson processes is one of the sum of their rates, so each worker draws its own.
    """
    times = _constant(order) if order.distribution == "constant" else _poisson(order, random)
    for moment in times:
        if order.end is not None and moment >= order.end:
            return
        yield moment


def _constant(order: ArrivalOrder) -> Iterator[float]:
    for number in count(order.index, order.of):
        # a product for each, since a sum of gaps would drift
        yield order.begin + number / order.rate_per_second


def _poisson(order: ArrivalOrder, random: Random) -> Iterator[float]:
    moment = order.begin
    while True:
        moment += random.expovariate(order.rate_per_second / order.of)
        yield moment
