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
from typing import Self

from diffusion_operator.comparison.analysis.rankable import RankableVariant
from diffusion_operator.comparison.analysis.statistics import (
    own_variances,
    p_value,
    residual_variance,
    welch,
)

ALPHA = 0.01
"""Chance of a false winner, over all tests together."""

SMALLEST_EFFECT = 0.03
"""Smallest relative difference that matters to users."""

PAIRED_FROM = 5
"""Least number of rounds that are blocks; with fewer, too few degrees of freedom remain."""

PRIOR_DEGREES = 1.0
"""Degrees of freedom with which the scatter of all variants counts for each one's own.

G. K. Smyth, "Linear models and empirical Bayes methods" (2004): the moderated t test. With more,
two noisy variants profit from calm ones; with fewer, a lead is found less often.
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
    test = _Blocks.of(everyone, [upper, *lower.values()]) if paired else None
    p_values = {}
    for place, each in enumerate(others, 1):
        low = lower[each.name]
        if best.below_least or fmean(upper) <= fmean(low):
            p_values[each.name] = 1.0
        elif test is not None:
            p_values[each.name] = test.p_of(place, fmean(upper) - fmean(low))
        else:
            rounding = best.rounding_variance + each.rounding_variance
            p_values[each.name] = welch(upper, low, rounding / 2)
    return Separation(p_values, len(shared), paired)


def _logs(
    variant: RankableVariant,
    figures: Sequence[float],
    rounds: Sequence[int] | Mapping[int, int],
    sign: int,
) -> list[float]:
    return [sign * math.log(figures[variant.by_round[number]]) for number in rounds]


@dataclass(frozen=True)
class _Blocks:
    """Variances of variants in the same rounds; place 0 is the best.

    `residual` is that of all variants together with its `degrees`; `moderated` holds each variant's
    own, drawn towards it.
    """

    rounds: int
    residual: float
    degrees: int
    moderated: Sequence[float]

    @classmethod
    def of(cls, variants: Sequence[RankableVariant], rows: Sequence[Sequence[float]]) -> Self:
        """Estimates from the logarithms; no variance is below that of the rounding."""
        residual, degrees = residual_variance(rows)
        residual = max(residual, fmean(each.rounding_variance for each in variants))
        if len(rows) == 2:  # noqa: PLR2004 - the scatter of a pair can't be divided between them
            return cls(len(rows[0]), residual, degrees, [residual] * 2)
        known = len(rows[0]) - 1
        moderated = [
            (PRIOR_DEGREES * residual + known * max(own, variant.rounding_variance))
            / (PRIOR_DEGREES + known)
            for own, variant in zip(own_variances(rows), variants, strict=True)
        ]
        return cls(len(rows[0]), residual, degrees, moderated)

    def p_of(self, place: int, gap: float) -> float:
        """Two-sided p of the best and another one, by the scatter of all and by their own."""
        shared = p_value(gap / math.sqrt(2 * self.residual / self.rounds), self.degrees)
        first, second = self.moderated[0], self.moderated[place]
        known = PRIOR_DEGREES + self.rounds - 1
        # Welch and Satterthwaite's degrees of freedom, rounded down
        degrees = int((first + second) ** 2 / (first**2 + second**2) * known)
        degrees = min(degrees, self.degrees)
        return max(shared, p_value(gap / math.sqrt((first + second) / self.rounds), degrees))


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
