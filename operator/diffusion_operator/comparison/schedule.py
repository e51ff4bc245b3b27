"""Schedule: the steps of a Comparison in their order."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import NamedTuple


class Step(NamedTuple):
    """Step: one repetition of one variant; repetitions and attempts count from 1.

    A further attempt repeats a run whose figures are not valid, in its own round.
    """

    variant: str
    repetition: int
    attempt: int = 1


def steps(variants: Sequence[str], repetitions: int) -> list[Step]:
    """First attempts in rounds: each round runs every variant once, in a balanced order."""
    rounds = islice(cycle(orders(len(variants))), repetitions)
    return [
        Step(variants[place], repetition)
        for repetition, order in enumerate(rounds, 1)
        for place in order
    ]


def orders(count: int) -> list[list[int]]:
    """Orders of the places 0 to `count` - 1, one a round, balanced against drift and carry-over.

    E. J. Williams, "Experimental designs balanced for the estimation of residual effects of
    treatments" (1949): over all orders each variant has each position equally often, and follows
    each other variant equally often. Every second order reverses the one before it, so a linear
    drift cancels out after each even number of rounds.
    """
    first = list(_zigzag(count))
    shifts = range(count if count % 2 else count // 2)
    pairs = ([(place + shift) % count for place in first] for shift in shifts)
    return [order for forward in pairs for order in (forward, forward[::-1])]


def _zigzag(count: int) -> Iterator[int]:
    """Williams' first order: 0, 1, n - 1, 2, n - 2, ..."""
    low, high = 1, count - 1
    yield 0
    while low <= high:
        yield low
        if low != high:
            yield high
        low, high = low + 1, high - 1
