"""Search for the knee: the highest load at which the target meets its objectives. Pure.

Bracketing: levels rise from the lowest in equal factors until a probe fails. Bisection: the factor
between the highest level within and the lowest beyond is halved until the two are one step apart.
Confirmation: the highest level within is probed a second time; if that probe fails, the level
counts as beyond and the level one step below is next, since a level with one probe within and one
beyond is near the knee.
"""

from collections.abc import Sequence
from math import ceil, inf, sqrt
from typing import NamedTuple

from diffusion_loadtest.plan.load_plan import Search

MAX_PROBES = 12
BRACKET_PROBES = 4
"""The lowest level, the highest, and two between: enough for a range of 1 to 1000."""
STEP_RATIO = 0.02
"""The share of a level that is one step, which is at least one user."""


class Probe(NamedTuple):
    """A probe of one level, and whether the target met its objectives."""

    level: float
    within: bool


class Knee(NamedTuple):
    """The result of a search; `level` is None if even the lowest level was beyond.

    `step` is the distance to the lowest level beyond, 0 if there is none. `at_max` means that the
    plan's highest level was within, so the true knee may be higher.
    """

    level: float | None
    confirmed: bool
    step: float
    at_max: bool


def next_level(search: Search, probes: Sequence[Probe]) -> float | None:
    """The level to probe next; None once the search is over."""
    if not probes:
        return search.min
    within, beyond = _bounds(probes)
    if within is None or len(probes) == MAX_PROBES:
        return None
    # the last probe is reserved for the confirmation
    if len(probes) < MAX_PROBES - 1:
        if beyond is None and within < search.max:
            return next(level for level in _bracket(search) if level > within)
        if beyond is not None and beyond - within > _step(search, within):
            if Probe(beyond, within=True) in probes:
                return _level(search, beyond - _step(search, within))
            return _between(search, within, beyond)
    return None if _is_confirmed(probes, within) else within


def knee(search: Search, probes: Sequence[Probe]) -> Knee:
    """The result of the probes so far."""
    within, beyond = _bounds(probes)
    if within is None:
        return Knee(None, confirmed=False, step=0.0, at_max=False)
    step = 0.0 if beyond is None else beyond - within
    return Knee(within, _is_confirmed(probes, within), step, at_max=within == search.max)


def _bounds(probes: Sequence[Probe]) -> tuple[float | None, float | None]:
    """The highest level within, and the lowest beyond: a level with one failed probe is beyond."""
    beyond = min((probe.level for probe in probes if not probe.within), default=inf)
    within = max((probe.level for probe in probes if probe.level < beyond), default=None)
    return within, None if beyond == inf else beyond


def _bracket(search: Search) -> list[float]:
    factor = (search.max / search.min) ** (1 / (BRACKET_PROBES - 1))
    inner = [search.min * factor**n for n in range(1, BRACKET_PROBES - 1)]
    return [search.min, *(_level(search, level) for level in inner), search.max]


def _between(search: Search, within: float, beyond: float) -> float:
    middle = _level(search, sqrt(within * beyond))
    # a level rounded to whole users must not equal an end of the range
    return min(max(middle, within + 1), beyond - 1) if search.over == "users" else middle


def _level(search: Search, level: float) -> float:
    return float(round(level)) if search.over == "users" else float(f"{level:.4g}")


def _step(search: Search, level: float) -> float:
    """The distance at which two levels count as neighbours."""
    share = STEP_RATIO * level
    return max(1.0, ceil(share)) if search.over == "users" else share


def _is_confirmed(probes: Sequence[Probe], level: float) -> bool:
    return sum(probe == (level, True) for probe in probes) > 1
