"""Rankable variants: the figures and verdicts of their rounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

SIGNIFICANT_DIGITS = 4
"""Digits of a decimal figure in a status."""


def rounding_unit(value: float) -> float:
    """Unit of the last digit of a positive figure with four significant digits."""
    return float(10 ** min(0, math.floor(math.log10(value)) - SIGNIFICANT_DIGITS + 1))


@dataclass(frozen=True)
class RankableVariant:
    """Figures of a variant that may be ranked, one of each per round.

    `values` holds positive figures and `met_slo` the verdicts on the objective, failures included
    (None without a verdict). `at_most` holds the upper bound of each figure: a search ends one step
    below a load that is too high. `units` holds the unit to which each figure is rounded, by
    default one in the fourth digit; `rounds` the numbers of the rounds, by default from 1.
    """

    name: str
    values: Sequence[float]
    met_slo: Sequence[bool | None]
    at_most: Sequence[float] = ()
    units: Sequence[float] = ()
    rounds: Sequence[int] = ()
    failing: str = ""
    """Predicate about failed requests, where too many failed to recommend the variant."""
    below_least: int = 0
    """Rounds whose value is only an upper bound: the least load of a search was too high."""

    @cached_property
    def log_mean(self) -> float:
        """Logarithm of the geometric mean."""
        return fmean(math.log(value) for value in self.values)

    @property
    def misses(self) -> int:
        """Rounds that missed the objective."""
        return sum(verdict is False for verdict in self.met_slo)

    @property
    def meets_slo(self) -> bool | None:
        """Verdict on the objective that all rounds share, or None."""
        verdicts = set(self.met_slo)
        return verdicts.pop() if len(verdicts) == 1 else None

    @property
    def objection(self) -> str:
        """Predicate that says why the variant can't be recommended; empty if it can."""
        if self.failing:
            return self.failing
        if self.misses * 2 >= max(1, len(self.met_slo)):
            return f"missed its objective in {self.misses} of {len(self.met_slo)} rounds"
        return ""

    @cached_property
    def by_round(self) -> dict[int, int]:
        """Places of the rounds in the sequences."""
        numbers = self.rounds or range(1, len(self.values) + 1)
        return {number: place for place, number in enumerate(numbers)}

    @cached_property
    def _relative_units(self) -> list[float]:
        if self.at_most:
            return [most / value - 1 for value, most in zip(self.values, self.at_most, strict=True)]
        units = self.units or [rounding_unit(value) for value in self.values]
        return [unit / value for unit, value in zip(units, self.values, strict=True)]

    @cached_property
    def rounding_variance(self) -> float:
        """Variance of a logarithm by its rounding: that of a uniform error, unit² / 12."""
        return fmean(unit * unit for unit in self._relative_units) / 12

    @cached_property
    def rounding_error(self) -> float:
        """Largest error of a logarithm by its rounding; 0 where `at_most` bounds the figure."""
        return 0.0 if self.at_most else fmean(self._relative_units) / 2
