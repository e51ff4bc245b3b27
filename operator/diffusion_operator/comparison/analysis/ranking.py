"""Ranking: the best variant, and whether the figures support it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffusion_operator.comparison.analysis.rankable import RankableVariant
from diffusion_operator.comparison.analysis.separation import (
    ALPHA,
    PAIRED_FROM,
    SMALLEST_EFFECT,
    Separation,
    alphas,
    separation,
)


@dataclass(frozen=True)
class Ranking:
    """Order of the variants, the recommended one if any, and the reason in a sentence."""

    order: Sequence[str]
    recommended: str | None
    reason: str
    p_values: Mapping[str, float]
    """P values of the best against each other variant by itself."""
    method: str = ""


def rank(
    candidates: Sequence[RankableVariant],
    *,
    higher_is_better: bool,
    figure: str,
    alpha: float = ALPHA,
) -> Ranking:
    """Rank by the geometric mean; recommend the best only if it is separated from all others.

    A variant with too many failures or with an objective that it missed in most rounds ranks below
    those without, and is never recommended. Two ways separate variants: their figures, by a test at
    alpha with a difference of at least `SMALLEST_EFFECT`, or the objective, which every round of
    the best met and no round of the other. `figure` names the compared figure in the sentence.
    """
    if not candidates:
        return Ranking((), None, "no variant has figures that can be ranked", {})
    sign = 1 if higher_is_better else -1
    ranked = sorted(
        candidates, key=lambda each: (bool(each.objection), -sign * each.log_mean, each.name)
    )
    best, others = ranked[0], ranked[1:]
    order = tuple(each.name for each in ranked)
    if not others:
        return Ranking(order, None, f"only {best.name} can be ranked: nothing to compare", {})
    tests = separation(best, others, sign=sign)
    if best.objection:
        each_fails = "; ".join(f"{each.name} {each.objection}" for each in ranked)
        reason = f"no variant can be recommended: {each_fails}"
        return Ranking(order, None, reason, tests.p_values, tests.method)
    by_figures = [each for each in others if _by_figures(best, each, tests, sign=sign, alpha=alpha)]
    by_objective = [each for each in others if _by_objective(best, each, alpha)]
    tied = [each for each in others if each not in by_figures and each not in by_objective]
    recommended = None if tied else best.name
    if tied:
        reason = _tied_reason(best, tied, tests, figure=figure, alpha=alpha)
    elif len(by_objective) == len(others):
        reason = f"only {best.name} meets the service level objective"
    else:
        worst = max(tests.p_values[each.name] for each in by_figures)
        reason = f"{best.name} is best in {figure}: {tests.method}, p at most {worst:.2g}"
    return Ranking(order, recommended, reason, tests.p_values, tests.method)


def _by_figures(
    best: RankableVariant, other: RankableVariant, tests: Separation, *, sign: int, alpha: float
) -> bool:
    of_figures, _ = alphas(best, other, alpha)
    lead = math.expm1(sign * (best.log_mean - other.log_mean))
    return tests.p_values[other.name] <= of_figures and lead >= SMALLEST_EFFECT


def _by_objective(best: RankableVariant, other: RankableVariant, alpha: float) -> bool:
    """Whether only the best meets the objective, and not by chance."""
    _, of_objective = alphas(best, other, alpha)
    return of_objective > 0 and best.meets_slo is True and other.meets_slo is False


def _tied_reason(
    best: RankableVariant,
    tied: Sequence[RankableVariant],
    tests: Separation,
    *,
    figure: str,
    alpha: float,
) -> str:
    names = ", ".join(each.name for each in tied)
    step = " and one step of the search" if best.at_most else ""
    reason = (
        f"{best.name} is not separated from {names} in {figure} "
        f"({tests.method}, alpha {alpha:g}, smallest effect {SMALLEST_EFFECT:.0%}{step})"
    )
    if objections := [f"{each.name} {each.objection}" for each in tied if each.objection]:
        reason += f", although {' and '.join(objections)}"
    if any(each.misses for each in tied) and tests.rounds < PAIRED_FROM:
        reason += f"; the objective alone separates from {PAIRED_FROM} repetitions on"
    return reason
