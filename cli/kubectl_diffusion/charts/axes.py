"""Axes: their spans, their ticks, and the format of their numbers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 5.0, 10.0)
_CLOCK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True)
class Axis:
    """One axis of a chart; ``place`` maps a value to a share of its length, 0 to 1."""

    label: str
    ticks: tuple[tuple[float, str], ...]
    place: Callable[[float], float]


def number(value: float) -> str:
    """A number in short, without needless zeros: 0.25, 8, 1,200."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def linear(label: str, values: Iterable[float], *, ticks: int = 5) -> Axis:
    """A linear axis from zero to a round number above all values."""
    top = max((value for value in values if math.isfinite(value)), default=0.0) or 1.0
    step = _round_step(top / ticks)
    end = math.ceil(top / step - 1e-9) * step
    count = round(end / step)
    return Axis(
        label,
        tuple((n * step, number(n * step)) for n in range(count + 1)),
        lambda value: value / end,
    )


def spanning(label: str, values: Iterable[float], *, ticks: int = 4) -> Axis:
    """A linear axis between round numbers around all values, for dots, which need no zero."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    step = _round_step((high - low or abs(high) or 1.0) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return Axis(
        label,
        tuple((n * step, number(n * step)) for n in range(first, last + 1)),
        lambda value: (value / step - first) / (last - first),
    )


def clock(label: str, seconds: float, *, ticks: int = 5) -> Axis:
    """A time axis from zero to exactly ``seconds``, with ticks as on a clock."""
    end = max(seconds, 1.0)
    step = next((each for each in _CLOCK_STEPS if end / each <= ticks), 86400)
    return Axis(
        label,
        tuple((float(t), _clock(t)) for t in range(0, math.floor(end) + 1, step)),
        lambda value: value / end,
    )


def logarithmic(label: str, low: float, high: float) -> Axis:
    """A logarithmic axis between two values above zero, with ticks at 1, 2 and 5 of each ten."""
    first, last = math.log10(low), math.log10(max(high, low * 1.01))
    span = range(math.floor(first), math.ceil(last) + 1)
    wide = last - first > 2  # noqa: PLR2004 - above two powers of ten, twos and fives overlap
    marks = [n * 10.0**power for power in span for n in ((1,) if wide else (1, 2, 5))]
    return Axis(
        label,
        tuple((mark, number(mark)) for mark in marks if low <= mark <= high),
        lambda value: (math.log10(value) - first) / (last - first),
    )


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step for step in _STEPS if step * power >= rough * 0.999) * power


def _clock(seconds: int) -> str:
    if seconds >= _HOUR:
        return f"{seconds // _HOUR}:{seconds % _HOUR // _MINUTE:02}:{seconds % _MINUTE:02}"
    return f"{seconds // _MINUTE}:{seconds % _MINUTE:02}"
