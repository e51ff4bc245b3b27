"""Ranking: the best variant, and whether the figures support it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from diffusion_operator.comparison.analysis.statistics import holm, welch

ALPHA = 0.01
"""Chance of a false winner, over all tests together."""

SMALLEST_EFFECT = 0.03
"""Smallest relative difference that matters to users."""


@dataclass(frozen=True)
class RankableVariant:
    """Figures of a variant that may be ranked.

    `values` holds a positive figure per repetition and `met_slo` whether each met the objective
    (None without one). `at_most` holds the upper bound of each figure: a search ends one step below
    a load that is too high. Exact figures have none.
    """

    name: str
    values: Sequence[float]
    met_slo: Sequence[bool | None]
    at_most: Sequence[float] = ()

    @property
    def meets_slo(self) -> bool | None:
        """Verdict on the objective that all repetitions share, or None."""
        verdicts = set(self.met_slo)
        return verdicts.pop() if len(verdicts) == 1 else None


@dataclass(frozen=True)
class Ranking:
    """Order of the variants, the recommended one if any, and the reason in a sentence."""

    order: Sequence[str]
    recommended: str | None
    reason: str
    p_values: Mapping[str, float]
    """P values of the best against each other variant, adjusted for their number."""


def rank(candidates: Sequence[RankableVariant], *, higher_is_better: bool, figure: str) -> Ranking:
    """Rank by the geometric mean; recommend the best only if it is separated from all others.

    Two ways separate variants. One is Welch's test of the logarithms, Holm-corrected, at `ALPHA`,
    with a difference of at least `SMALLEST_EFFECT` and beyond the other's upper bound. The other is
    the service level objective, met in each repetition of one and in none of the other, with enough
    repetitions to exclude chance. Where there is an objective, both ways share `ALPHA`. `figure`
    names the compared figure in the sentence.
    """
    if not candidates:
        return Ranking((), None, "no variant has figures that can be ranked", {})
    sign = -1 if higher_is_better else 1
    ranked = sorted(
        candidates,
        key=lambda each: (each.meets_slo is False, sign * _log_mean(each.values), each.name),
    )
    best, others = ranked[0], ranked[1:]
    has_slo = any(verdict is not None for each in ranked for verdict in each.met_slo)
    alpha = ALPHA / 2 if has_slo else ALPHA
    order = tuple(each.name for each in ranked)
    if not others:
        return Ranking(order, None, f"only {best.name} can be ranked: nothing to compare", {})
    adjusted = holm([_p_value(best, other) for other in others])
    p_values = {other.name: p for other, p in zip(others, adjusted, strict=True)}
    apart = {other.name for other in others if _by_slo(best, other, alpha / len(others))}
    tied = [
        other.name
        for other in others
        if other.name not in apart
        and not (p_values[other.name] <= alpha and _is_better(best, other, sign))
    ]
    if tied:
        reason = (
            f"{best.name} is not separated from {', '.join(tied)} in {figure} "
            f"(Welch's test, Holm-corrected, alpha {alpha}, smallest effect {SMALLEST_EFFECT:.0%}"
            f"{' and one step of the search' if best.at_most else ''})"
        )
        if best.meets_slo and any(other.meets_slo is False for other in others):
            enough = math.ceil(math.log2(2 * len(others) / alpha) / 2)
            reason += f"; the objective alone separates from {enough} repetitions on"
        return Ranking(order, None, reason, p_values)
    if len(apart) == len(others):
        reason = f"only {best.name} meets the service level objective"
        return Ranking(order, best.name, reason, p_values)
    reason = (
        f"{best.name} is best in {figure}: Welch's test, Holm-corrected, p at most "
        f"{max(p_values.values()):.2g} against each other variant"
    )
    return Ranking(order, best.name, reason, p_values)


def _log_mean(values: Sequence[float]) -> float:
    return fmean(math.log(value) for value in values)


def _p_value(best: RankableVariant, other: RankableVariant) -> float:
    """P value of the best against the other's upper bound; 1 where that is no less."""
    if not other.at_most:
        return welch(best.values, other.values)
    beyond = _log_mean(best.values) > _log_mean(other.at_most)
    return welch(best.values, other.at_most) if beyond else 1.0


def _by_slo(best: RankableVariant, other: RankableVariant, alpha: float) -> bool:
    """Whether only the first meets the objective, and not by chance.

    Two equal variants at the limit give that result with a probability of 2 / 2^(n + m) at most,
    for n and m repetitions.
    """
    by_chance = 2 / 2 ** (len(best.met_slo) + len(other.met_slo))
    return best.meets_slo is True and other.meets_slo is False and by_chance <= alpha


def _is_better(best: RankableVariant, other: RankableVariant, sign: int) -> bool:
    if best.meets_slo is False:
        return False  # a variant that misses the objective is not recommended
    ahead = sign * (_log_mean(other.values) - _log_mean(best.values))
    return math.exp(ahead) - 1 >= SMALLEST_EFFECT
