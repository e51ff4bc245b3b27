"""Durations as the command line takes them."""

import argparse
import re

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?:[0-9]{1,6}[smh])+")


def seconds(text: str) -> float:
    """Seconds of a duration such as ``90s`` or ``1h30m``. Raises ``ArgumentTypeError``."""
    if not _DURATION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: write for example 90s or 1h30m")
    return float(sum(int(part[:-1]) * _SECONDS[part[-1]] for part in re.findall(r"\d+.", text)))
