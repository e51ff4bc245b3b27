"""Finds the knee: the highest load at which the target stays within its objectives. Pure.

Bracket: from the lowest level up in equal factors until a probe fails. Bisect: halve the factor
between the highest level within and the lowest beyond until they are one step apart. Confirm: probe
the highest level within a second time; if it fails now, it counts as beyond, and the level one step
below it is next: what was within once and beyond once is near to the knee.
"""

from collections.abc import Sequence
from math import ceil, inf, sqrt
from typing import NamedTuple

from diffusion_loadtest.plan.load_plan import Search

MAX_PROBES = 12
BRACKET_PROBES = 4
"""The lowest and the highest level, and two between: enough for a range of 1 to 1000."""
STEP_RATIO = 0.02
"""One step is this share of the level, or one user if that is more."""


class Probed(NamedTuple):
    """A level that was probed, and whether the target was within its objectives."""

    level: float
    within: bool


class Knee(NamedTuple):
    """What a search found; `level` is None where not even the lowest level was within.

    `step` is the distance to the lowest level beyond, 0 if there is none. `at_max`: the highest
    level of the plan was within, so that the true knee may lie higher.
    """

    level: float | None
    confirmed: bool
    step: float
    at_max: bool


def next_level(search: Search, probed: Sequence[Probed]) -> float | None:
    """The level to probe next; None once the search is over."""
    if not probed:
        return search.min
    within, beyond = _bounds(probed)
    if within is None or len(probed) == MAX_PROBES:
        return None
    # the last probe is kept for the confirmation
    if len(probed) < MAX_PROBES - 1:
        if beyond is None and within < search.max:
            return next(level for level in _bracket(search) if level > within)
        if beyond is not None and beyond - within > _step(search, within):
            if Probed(beyond, within=True) in probed:
                return _level(search, beyond - _step(search, within))
            return _between(search, within, beyond)
    return None if _is_confirmed(probed, within) else within


def knee(search: Search, probed: Sequence[Probed]) -> Knee:
    """What the probes made so far amount to."""
    within, beyond = _bounds(probed)
    if within is None:
        return Knee(None, confirmed=False, step=0.0, at_max=False)
    step = 0.0 if beyond is None else beyond - within
    return Knee(within, _is_confirmed(probed, within), step, at_max=within == search.max)


def _bounds(probed: Sequence[Probed]) -> tuple[float | None, float | None]:
    """The lowest level beyond, and the highest within below it; one that ever failed is beyond."""
    beyond = min((probe.level for probe in probed if not probe.within), default=inf)
    within = max((probe.level for probe in probed if probe.level < beyond), default=None)
    return within, None if beyond == inf else beyond


def _bracket(search: Search) -> list[float]:
    factor = (search.max / search.min) ** (1 / (BRACKET_PROBES - 1))
    inner = [search.min * factor**n for n in range(1, BRACKET_PROBES - 1)]
    return [search.min, *(_level(search, level) for level in inner), search.max]


def _between(search: Search, within: float, beyond: float) -> float:
    middle = _level(search, sqrt(within * beyond))
    # rounding to whole users must not hit an end that is known already
    return min(max(middle, within + 1), beyond - 1) if search.over == "users" else middle


def _level(search: Search, level: float) -> float:
    return float(round(level)) if search.over == "users" else float(f"{level:.4g}")


def _step(search: Search, level: float) -> float:
    """The distance at which two levels count as neighbours."""
    share = STEP_RATIO * level
    return max(1.0, ceil(share)) if search.over == "users" else share


def _is_confirmed(probed: Sequence[Probed], level: float) -> bool:
    return sum(probe == (level, True) for probe in probed) > 1
