"""Formats of latencies and ratios."""

_PERCENT_DIGITS = 2


def milliseconds(value: float | None) -> str:
    """A latency as text: 812 ms, 3.40 s, or a hyphen."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"  # noqa: PLR2004


def percent(ratio: float) -> str:
    """A ratio as text: 1.23% for 0.0123."""
    return f"{round(ratio * 100, _PERCENT_DIGITS):g}%"
