"""Latencies and ratios as people read them."""

_PERCENT_DIGITS = 2


def milliseconds(value: float | None) -> str:
    """A latency as people read it: 812 ms, 3.4 s, or a hyphen."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"  # noqa: PLR2004


def percent(ratio: float) -> str:
    """0.0123 as 1.23%."""
    return f"{round(ratio * 100, _PERCENT_DIGITS):g}%"
