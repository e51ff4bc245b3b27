"""The Server-Timing header, in which the target splits the time of a response."""

import math

STAGES = ("queue", "text_encoder", "denoise", "vae", "encode")
UNKNOWN: tuple[float, ...] = (math.nan,) * len(STAGES)

Timing = tuple[float, ...]
"""The milliseconds of each of STAGES; NaN if the target gave none."""


def parse_server_timing(header: str | None) -> Timing:
    """The durations of STAGES in a header like `queue;dur=1.5, vae;dur=20`; others are ignored."""
    if not header:
        return UNKNOWN
    durations: dict[str, float] = {}
    for metric in header.split(","):
        name, *parameters = metric.split(";")
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "dur":
                durations[name.strip()] = _milliseconds(value.strip().strip('"'))
    return tuple(durations.get(stage, math.nan) for stage in STAGES)


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if 0 <= value < math.inf else math.nan
