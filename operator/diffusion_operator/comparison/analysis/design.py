"""Design of a Comparison: the lead that so many rounds can detect."""

import math
from collections.abc import Sequence
from statistics import NormalDist

from diffusion_operator.api.comparison import Design, Detectable
from diffusion_operator.api.fields import shown
from diffusion_operator.comparison.analysis.separation import (
    ALPHA,
    PAIRED_FROM,
    PRIOR_DEGREES,
    SMALLEST_EFFECT,
)
from diffusion_operator.comparison.analysis.statistics import critical_t

POWER = 0.8
"""Share of studies in which the detectable lead is found."""

SCATTERS = (0.02, 0.05, 0.10)
"""Standard deviations between equal runs, as shares of the figure; a design has a lead for each."""

_LEAST_ROUNDS = 3
_CHANCE_BY_OBJECTIVE = math.ldexp(2.0, -2 * PAIRED_FROM)


def detectable_lead(variants: int, rounds: int, scatter: float) -> float | None:
    """Relative lead over all others that the design finds in `POWER` of studies.

    None stands for a design with too few rounds for such a lead.

    The lead is a multiple of the standard error of logarithms, scatter * sqrt(2 / rounds). The best
    variant must beat every rival, so the rivals share the chance of a miss, beta.
    """
    if rounds < _LEAST_ROUNDS or variants < 2:  # noqa: PLR2004 - a comparison takes two
        return None
    beta = 1 - POWER ** (1 / (variants - 1))
    error = scatter * math.sqrt(2 / rounds)
    if rounds < PAIRED_FROM:
        # Welch's degrees of freedom lie between those of one variant and those of two.
        least = _steps(ALPHA, beta, 1.5 * (rounds - 1))
    else:
        alpha = ALPHA - _CHANCE_BY_OBJECTIVE
        every = (variants - 1) * (rounds - 1)
        # a pair has both moderated variances, less what the rounds' levels take
        pair = 2 * (PRIOR_DEGREES + rounds - 1) * (1 - 1 / variants)
        least = _steps(alpha, beta, min(every, pair))
    return max(SMALLEST_EFFECT, math.expm1(least * error))


def _steps(alpha: float, beta: float, degrees: float) -> float:
    """Standard errors between no lead and a lead that is found with probability 1 - beta.

    N. L. Johnson and B. L. Welch, "Applications of the non-central t-distribution" (1940): the
    difference less t_alpha times its estimated error is nearly normal. `mean` is the mean of the
    estimated error's ratio to the true one, and 1 - mean² its variance.
    """
    mean = math.sqrt(2 / degrees) * math.exp(
        math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    )
    limit = critical_t(alpha, degrees)
    spread = math.sqrt(1 + limit * limit * (1 - mean * mean))
    return limit * mean + NormalDist().inv_cdf(1 - beta) * spread


def design(variants: int, rounds: int, looks: Sequence[int] = (), note: str = "") -> Design:
    """Design of a study, with the leads that it can detect.

    `looks` are the conclusions so far; `note` follows the sentence on the design.
    """
    leads = [(scatter, detectable_lead(variants, rounds, scatter)) for scatter in SCATTERS]
    return Design(
        repetitions=rounds,
        variants=variants,
        looks=tuple(looks) or None,
        detectable=tuple(
            Detectable(scatter=shown(scatter), lead=None if lead is None else f"{lead:.2f}")
            for scatter, lead in leads
        ),
        message="; ".join(filter(None, [_in_words(variants, rounds, leads), note])),
    )


def _in_words(variants: int, rounds: int, leads: Sequence[tuple[float, float | None]]) -> str:
    if any(lead is None for _, lead in leads):
        return f"fewer than {_LEAST_ROUNDS} rounds seldom recommend anything: set repetitions to 5"
    parts = [f"{lead:.0%} where equal runs scatter by {scatter:.0%}" for scatter, lead in leads]
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return (
        f"{rounds} rounds of {variants} variants find a lead over all others in {POWER:.0%} of "
        f"studies if the lead is {listed}"
    )
