"""Charts as static SVG: without scripts or network, and coloured by their page."""

from kubectl_diffusion.charts.axes import Axis, clock, linear, logarithmic, number
from kubectl_diffusion.charts.svg import (
    Bars,
    Line,
    Mark,
    Share,
    Stack,
    bar_chart,
    line_chart,
    share_chart,
    stack_chart,
)

__all__ = [
    "Axis",
    "Bars",
    "Line",
    "Mark",
    "Share",
    "Stack",
    "bar_chart",
    "clock",
    "line_chart",
    "linear",
    "logarithmic",
    "number",
    "share_chart",
    "stack_chart",
]
