"""Separation of the best variant from each other one, by their figures.

A variant is recommended only if it beats every other one, so each of these tests has the whole
alpha (R. L. Berger, "Multiparameter hypothesis testing and acceptance sampling", 1982: the
intersection-union test). The best is chosen by the same figures; a two-sided test makes up for that
(S. Gutmann and Z. Maymin, "Is the selected population the best?", 1987).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from diffusion_operator.comparison.analysis.rankable import RankableVariant
from diffusion_operator.comparison.analysis.statistics import (
    p_value,
    residual_variance,
    variance,
    welch,
)

ALPHA = 0.01
"""Chance of a false winner, over all tests together."""

SMALLEST_EFFECT = 0.03
"""Smallest relative difference that matters to users."""

PAIRED_FROM = 5
"""Least number of rounds that are blocks; with fewer, too few degrees of freedom remain."""

OWN_SHARE = 0.25
"""Weight of the p value of a pair's own differences, which must be at most alpha / OWN_SHARE.

The residual variance is that of all variants. A pair that scatters more than the others would pass
too easily by it alone: simulated, two equal variants of 10 % beside four of 1 % would then be
separated in 12 of 100 studies, with the pair's own test in 3.
"""


@dataclass(frozen=True)
class Separation:
    """P values of the best against each other variant, and the method that gave them."""

    p_values: Mapping[str, float]
    rounds: int
    paired: bool

    @property
    def method(self) -> str:
        """Name of the test."""
        kind = "t test in blocks of rounds" if self.paired else "Welch's t test"
        return f"{kind}, of the logarithms, against each other variant by itself"


def separation(
    best: RankableVariant, others: Sequence[RankableVariant], *, sign: int
) -> Separation:
    """Test the best against each other variant; `sign` is -1 where less is better.

    From `PAIRED_FROM` rounds on, rounds are blocks, so that what changes from round to round
    (another time of the day, a warmer device) is no scatter. With fewer, the test is Welch's.
    """
    everyone = [best, *others]
    shared = [number for number in best.by_round if all(number in each.by_round for each in others)]
    paired = len(shared) >= PAIRED_FROM
    upper = _logs(best, best.values, shared if paired else best.by_round, sign)
    upper = [value - best.rounding_error for value in upper]
    lower = {
        each.name: [
            value + each.rounding_error
            for value in _logs(
                each, each.at_most or each.values, shared if paired else each.by_round, sign
            )
        ]
        for each in others
    }
    if paired:
        residual, degrees = residual_variance([upper, *lower.values()])
        least = fmean(each.rounding_variance for each in everyone)
        residual = max(residual, least)
    p_values = {}
    for each in others:
        low = lower[each.name]
        rounding = best.rounding_variance + each.rounding_variance
        if best.below_least or fmean(upper) <= fmean(low):
            p_values[each.name] = 1.0
        elif paired:
            p_values[each.name] = _in_blocks(upper, low, residual, degrees, rounding)
        else:
            p_values[each.name] = welch(upper, low, rounding / 2)
    return Separation(p_values, len(shared), paired)


def _logs(
    variant: RankableVariant,
    figures: Sequence[float],
    rounds: Sequence[int] | Mapping[int, int],
    sign: int,
) -> list[float]:
    return [sign * math.log(figures[variant.by_round[number]]) for number in rounds]


def _in_blocks(
    upper: Sequence[float], lower: Sequence[float], residual: float, degrees: int, rounding: float
) -> float:
    """Two-sided p of two means in the same rounds; both the shared and the own scatter count."""
    differences = [high - low for high, low in zip(upper, lower, strict=True)]
    gap, count = fmean(differences), len(differences)
    shared = p_value(gap / math.sqrt(2 * residual / count), degrees)
    spread = max(variance(differences), rounding)
    own = p_value(gap / math.sqrt(spread / count), count - 1)
    return max(shared, OWN_SHARE * own)


def chance_by_objective(first: RankableVariant, second: RankableVariant) -> float:
    """Probability at most that chance lets one of two equal variants meet the objective always.

    The other one never meets it. Two equal variants at the limit give that result with a
    probability of 2 / 2^(n + m) at most, for n and m rounds.
    """
    return math.ldexp(2.0, -(len(first.met_slo) + len(second.met_slo)))


def alpha_of_look(earlier: int) -> float:
    """Alpha of a conclusion after so many earlier ones of the same study with other rounds.

    Rounds that are added until there is a verdict give one by chance: two equal variants in 5 of
    100 studies, simulated with a look at each number of rounds from 5 to 20. A quarter for each
    further look bounds the sum at 4/3 of `ALPHA`.
    """
    return float(ALPHA / 4**earlier)


def alphas(
    first: RankableVariant, second: RankableVariant, alpha: float = ALPHA
) -> tuple[float, float]:
    """Alpha of the figures and of the objective, which share `alpha`.

    The objective's is 0 where its verdicts are too few: it would take more than a quarter.
    """
    chance = chance_by_objective(first, second)
    has_verdicts = any(each is not None for one in (first, second) for each in one.met_slo)
    if not has_verdicts or chance > alpha / 4:
        return alpha, 0.0
    return alpha - chance, chance
