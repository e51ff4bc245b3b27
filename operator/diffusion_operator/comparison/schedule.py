"""Schedule: the steps of a Comparison in their order."""

from collections.abc import Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """Step: one repetition of one variant; repetitions count from 1."""

    variant: str
    repetition: int


def steps(variants: Sequence[str], repetitions: int) -> list[Step]:
    """Steps in rounds: every variant once per repetition, each round begins one variant later.

    Rounds interleave the variants, so that slow changes (a warm cache, a hot device, a busy
    neighbour) affect all alike; the rotation keeps any variant from always being first.
    """
    turns = [(round_ + 1, round_ % len(variants)) for round_ in range(repetitions)]
    return [
        Step(variant, repetition)
        for repetition, turn in turns
        for variant in (*variants[turn:], *variants[:turn])
    ]
