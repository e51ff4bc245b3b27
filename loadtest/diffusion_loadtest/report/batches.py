"""Batches of responses, by the moments at which responses end. Pure.

Batches that take equal times have equal latencies, which show no dependence. A pause that hits a
batch hits all of its responses nevertheless, so that a batch is one draw.
"""

from collections.abc import Sequence
from itertools import pairwise

TOGETHER = 0.1
"""The share of the mean distance below which two responses end together."""
BATCHED_SHARE = 0.25
"""The share of distances below TOGETHER from which on responses come in batches.

Of a Poisson process it is 1 - exp(-0.1), a tenth; of batches of two, a half.
"""


def batches(ends: Sequence[float]) -> int:
    """The number of batches in which responses came, from the ascending moments of their ends.

    Responses that come one by one are a batch each.
    """
    distances = [later - earlier for earlier, later in pairwise(ends)]
    if not distances:
        return len(ends)
    limit = TOGETHER * (ends[-1] - ends[0]) / len(distances)
    together = sum(distance <= limit for distance in distances)
    if together <= BATCHED_SHARE * len(distances):
        return len(ends)
    return len(ends) - together
