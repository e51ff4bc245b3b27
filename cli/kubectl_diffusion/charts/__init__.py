"""Charts as static SVG: without scripts or network, and coloured by their page."""

from kubectl_diffusion.charts.axes import Axis, clock, linear, logarithmic, number, spanning
from kubectl_diffusion.charts.svg import (
    Bars,
    DotRow,
    Line,
    Mark,
    Share,
    Stack,
    bar_chart,
    dot_chart,
    line_chart,
    share_chart,
    stack_chart,
)

__all__ = [
    "Axis",
    "Bars",
    "DotRow",
    "Line",
    "Mark",
    "Share",
    "Stack",
    "bar_chart",
    "clock",
    "dot_chart",
    "line_chart",
    "linear",
    "logarithmic",
    "number",
    "share_chart",
    "spanning",
    "stack_chart",
]
