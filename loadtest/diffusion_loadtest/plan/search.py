"""Search for the knee: the highest load at which the target meets its objectives. Pure.

Bracketing: levels rise from the lowest in equal factors until one is beyond. Bisection: the factor
between the highest level within and the lowest beyond is halved until the two are one step apart.
Confirmation: the highest level within is probed a second time.

Two equal probes of at most three decide a level: a probe that fails is repeated, since one blip of
the target must not end the search far below the knee. A level that is beyond although one
of its probes was within is near the knee: the level one step below is next.
"""

from collections.abc import Iterable, Sequence
from math import ceil, inf, sqrt
from statistics import fmean
from typing import NamedTuple

from diffusion_loadtest.plan.load_plan import Search

MAX_PROBES = 20
"""A search over a range of 1 to 1000 takes 14 probes as a rule."""
BRACKET_PROBES = 4
"""The lowest level, the highest, and two between: enough for a range of 1 to 1000."""
STEP_RATIO = 0.02
"""The share of a level that is one step, which is at least one user."""
CONFIRMING_PROBES = 2
"""The probes that are reserved for the confirmation: a second one, and a third if that fails."""


class Probe(NamedTuple):
    """A probe of one level, and whether the target met its objectives.

    `delivered` is the rate of responses in the probe's window; None if it's unknown. The rate
    includes failures, which the slo limits.
    """

    level: float
    within: bool
    delivered: float | None = None


class Knee(NamedTuple):
    """The result of a search; `level` is None if even the lowest level was beyond.

    `load` is the highest sustained load: the level, or the rate that the target delivered at it if
    that is lower. `step` is the distance from `load` to the lowest level beyond, 0 if there is
    none. `at_max` means that the plan's highest level was within, so the true knee may be higher.
    """

    level: float | None
    confirmed: bool
    step: float
    at_max: bool
    load: float | None = None


def next_level(search: Search, probes: Sequence[Probe]) -> float | None:
    """The level to probe next; None once the search is over."""
    if not probes:
        return search.min
    if len(probes) == MAX_PROBES:
        return None
    if (undecided := _undecided(probes)) is not None:
        return undecided
    within, beyond = _bounds(probes)
    if within is None:
        return None
    level = None
    if len(probes) < MAX_PROBES - CONFIRMING_PROBES:
        level = _level_between(search, probes, within, beyond)
    return within if level is None and not _is_confirmed(probes, within) else level


def _level_between(
    search: Search, probes: Sequence[Probe], within: float, beyond: float | None
) -> float | None:
    """The next level above `within`; None if it's one step below the lowest beyond, or at max."""
    if beyond is None:
        return next((level for level in _bracket(search) if level > within), None)
    if beyond - within <= _step(search, within):
        return None
    if any(_verdicts(probes, beyond)):
        return _level(search, beyond - _step(search, within))
    return _between(search, within, beyond)


def knee(search: Search, probes: Sequence[Probe]) -> Knee:
    """The result of the probes so far."""
    within, beyond = _bounds(probes)
    if within is None:
        return Knee(None, confirmed=False, step=0.0, at_max=False)
    load = _sustained(search, within, probes)
    step = 0.0 if beyond is None else beyond - load
    confirmed = _is_confirmed(probes, within)
    return Knee(within, confirmed, step, at_max=within == search.max, load=load)


def _sustained(search: Search, level: float, probes: Iterable[Probe]) -> float:
    """The rate that the probes within delivered at the level, at most the level itself.

    By chance fewer requests than the level's may be due in a probe: the target proved no more than
    it delivered.
    """
    rates = [p.delivered for p in probes if p.level == level and p.within and p.delivered]
    if search.over == "users" or not rates:
        return level
    return min(level, _level(search, fmean(rates)))


def _verdicts(probes: Iterable[Probe], level: float) -> list[bool]:
    return [probe.within for probe in probes if probe.level == level]


def _undecided(probes: Sequence[Probe]) -> float | None:
    """The level of the last probe, if it needs another one: it failed, and not twice."""
    verdicts = _verdicts(probes, probes[-1].level)
    failed = verdicts.count(False)
    return probes[-1].level if failed == 1 and len(verdicts) - failed < 2 else None  # noqa: PLR2004  of three


def _bounds(probes: Sequence[Probe]) -> tuple[float | None, float | None]:
    """The highest level within, and the lowest beyond; an undecided level counts as beyond."""
    levels = {probe.level: _verdicts(probes, probe.level) for probe in probes}
    beyond = min((level for level, each in levels.items() if not _is_within(each)), default=inf)
    within = max((level for level in levels if level < beyond), default=None)
    return within, None if beyond == inf else beyond


def _is_within(verdicts: Sequence[bool]) -> bool:
    return verdicts.count(True) > verdicts.count(False)


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
    return _verdicts(probes, level).count(True) > 1
