"""Charts of lines, bars and shares, drawn with the standard library alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from xml.etree import ElementTree as ET

from kubectl_diffusion.charts.axes import Axis

# The page scales a chart to its column; at this size, text stays readable on a phone.
WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 34, 40
_INNER_WIDTH, _INNER_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_LEGEND_Y, _LETTER, _SWATCH = 14, 6.6, 20
_ROW, _BAR = 26, 14
_LABEL_HEIGHT = 12.0
# Room for 18 letters of 7.4 units, the longest name of a variant.
_DOT_LEFT, _DOT_ROW = 142, 34

Spot = tuple[float, float]
Colour = Literal["first", "second", "bad", "third", "fourth", "fifth", "sixth"]


@dataclass(frozen=True)
class Line:
    """One line; a point without a value leaves a gap."""

    label: str
    colour: Colour
    points: Sequence[tuple[float, float | None]]
    stepped: bool = False
    dots: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Mark:
    """A straight line across the chart at one value, with a label."""

    at: float
    label: str
    along: Literal["x", "y"] = "x"
    """The axis of the value."""
    colour: Colour | None = None


@dataclass(frozen=True)
class Bars:
    """Bars side by side: start, end, height, and tooltip of each."""

    bars: Sequence[tuple[float, float, float, str]]
    colour: Colour = "first"


@dataclass(frozen=True)
class Share:
    """A part of a whole."""

    label: str
    value: float
    colour: Colour
    text: str


@dataclass(frozen=True)
class Stack:
    """A row of parts, one after the other."""

    label: str
    parts: Sequence[Share]
    text: str


@dataclass(frozen=True)
class DotRow:
    """A row of single values, with their mean and its interval where there is one."""

    label: str
    values: Sequence[float]
    mean: float
    low: float | None
    high: float | None
    text: str
    colour: Colour = "first"


def line_chart(
    title: str,
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    marks: Iterable[Mark] = (),
    *,
    legend: bool = True,
) -> str:
    """A chart of lines; several get a legend, or labels at their ends where the page has one."""
    svg = _frame(title, x, y)
    _draw_marks(svg, marks, x, y)
    for line in lines:
        _draw_line(svg, line, x, y)
    if legend and len(lines) > 1:
        _legend(svg, [(line.label, line.colour, line.dashed) for line in lines])
    if not legend:
        _label_lines(svg, lines, x, y)
    return _text_of(svg)


def bar_chart(title: str, x: Axis, y: Axis, bars: Bars, marks: Iterable[Mark] = ()) -> str:
    """A histogram."""
    svg = _frame(title, x, y)
    for low, high, value, tooltip in bars.bars:
        left, right, top = _x(x, low), _x(x, high), _y(y, value)
        bar = ET.SubElement(
            svg,
            "rect",
            {
                "class": f"bar fill-{bars.colour}",
                "x": _n(left),
                "y": _n(top),
                "width": _n(max(right - left - 0.5, 0.5)),
                "height": _n(HEIGHT - BOTTOM - top),
            },
        )
        ET.SubElement(bar, "title").text = tooltip
    _draw_marks(svg, marks, x, y)
    return _text_of(svg)


def share_chart(title: str, shares: Sequence[Share]) -> str:
    """A chart of parts of a whole as rows, each with a bar and a text."""
    height = TOP + _ROW * len(shares)
    svg = _svg(title, height)
    most = max((share.value for share in shares), default=0.0) or 1.0
    left, width = 96, WIDTH - 96 - 74
    for row, share in enumerate(shares):
        top = TOP - 10 + row * _ROW
        _text(svg, (left - 8, top + _BAR - 3), share.label, "end")
        size = {"x": _n(left), "y": _n(top), "height": _n(_BAR)}
        wide = _n(max(width * share.value / most, 1))
        ET.SubElement(svg, "rect", {"class": f"fill-{share.colour}", "width": wide, **size})
        _text(svg, (left + float(wide) + 6, top + _BAR - 3), share.text)
    return _text_of(svg)


def stack_chart(title: str, stacks: Sequence[Stack]) -> str:
    """A chart of stacked rows on one scale; the page holds the key, tooltips hold the values."""
    svg = _svg(title, 18 + _ROW * len(stacks))
    most = max((sum(part.value for part in stack.parts) for stack in stacks), default=0.0) or 1.0
    # Room for 18 letters of 7.4 units, the longest name of a variant.
    left, width = 142, WIDTH - 142 - 56
    for row, stack in enumerate(stacks):
        top, at = 10 + row * _ROW, float(left)
        _text(svg, (left - 6, top + _BAR - 3), stack.label, "end")
        for part in stack.parts:
            wide = width * part.value / most
            size = {"x": _n(at), "y": _n(top), "width": _n(wide), "height": _n(_BAR)}
            bar = ET.SubElement(svg, "rect", {"class": f"fill-{part.colour}", **size})
            ET.SubElement(bar, "title").text = f"{part.label}: {part.text}"
            at += wide
        _text(svg, (at + 6, top + _BAR - 3), stack.text)
    return _text_of(svg)


def dot_chart(title: str, rows: Sequence[DotRow], x: Axis) -> str:
    """A chart of rows on one axis: each value a ring, the mean a dot, its interval a bar."""
    height = 18 + _DOT_ROW * len(rows) + BOTTOM
    svg = _svg(title, height)
    floor = height - BOTTOM
    for value, text in x.ticks:
        at = _dot_x(x, value)
        _rule(svg, "grid", (at, 6), (at, floor))
        _text(svg, (at, floor + 17), text, "middle")
    _rule(svg, "axis", (_DOT_LEFT, floor), (WIDTH - RIGHT, floor))
    _text(svg, (WIDTH - RIGHT, height - 6), x.label, "end", "label")
    for place, row in enumerate(rows):
        _draw_dots(svg, row, x, 24 + place * _DOT_ROW)
    return _text_of(svg)


def _draw_dots(svg: ET.Element, row: DotRow, x: Axis, middle: float) -> None:
    """Draws a row: the interval above, the values below, so that neither hides the other."""
    _text(svg, (_DOT_LEFT - 8, middle + 4), row.label, "end")
    group = ET.SubElement(svg, "g")
    ET.SubElement(group, "title").text = f"{row.label}: {row.text}"
    stroke, above, below = f"line stroke-{row.colour}", middle - 5, middle + 6
    if row.low is not None and row.high is not None:
        _rule(group, stroke, (_dot_x(x, row.low), above), (_dot_x(x, row.high), above))
        for end in (row.low, row.high):
            _rule(group, stroke, (_dot_x(x, end), above - 3), (_dot_x(x, end), above + 3))
    mean = {"cx": _n(_dot_x(x, row.mean)), "cy": _n(above), "r": "2.6"}
    ET.SubElement(group, "circle", {"class": f"fill-{row.colour}", **mean})
    for value in row.values:
        spot = {"cx": _n(_dot_x(x, value)), "cy": _n(below), "r": "3"}
        ET.SubElement(group, "circle", {"class": f"dot stroke-{row.colour}", **spot})


def _dot_x(axis: Axis, value: float) -> float:
    return _DOT_LEFT + (WIDTH - RIGHT - _DOT_LEFT) * axis.place(value)


def _svg(title: str, height: int = HEIGHT) -> ET.Element:
    return ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height}",
            "role": "img",
            "aria-label": title,
        },
    )


def _frame(title: str, x: Axis, y: Axis) -> ET.Element:
    svg = _svg(title)
    for value, text in y.ticks:
        at = _y(y, value)
        _rule(svg, "grid", (LEFT, at), (WIDTH - RIGHT, at))
        _text(svg, (LEFT - 6, at + 4), text, "end")
    for value, text in x.ticks:
        at = _x(x, value)
        _rule(svg, "tick", (at, HEIGHT - BOTTOM), (at, HEIGHT - BOTTOM + 4))
        _text(svg, (at, HEIGHT - BOTTOM + 17), text, "middle")
    _rule(svg, "axis", (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM))
    _text(svg, (WIDTH - RIGHT, HEIGHT - 6), x.label, "end", "label")
    _text(svg, (2, _LEGEND_Y), y.label, "start", "label")
    return svg


def _draw_line(svg: ET.Element, line: Line, x: Axis, y: Axis) -> None:
    for run in _unbroken(line.points):
        path = _path([(_x(x, a), _y(y, b)) for a, b in run], stepped=line.stepped)
        kind = "line dashed" if line.dashed else "line"
        ET.SubElement(svg, "path", {"class": f"{kind} stroke-{line.colour}", "d": path})
        if line.dots or len(run) == 1:
            for a, b in run:
                place = {"cx": _n(_x(x, a)), "cy": _n(_y(y, b)), "r": "3"}
                ET.SubElement(svg, "circle", {"class": f"fill-{line.colour}", **place})


def _draw_marks(svg: ET.Element, marks: Iterable[Mark], x: Axis, y: Axis) -> None:
    """Draws each mark with its label on a row of its own, since two may be close together."""
    for row, mark in enumerate(marks):
        _draw_mark(svg, mark, x, y, TOP + 8 + row * 12)


def _draw_mark(svg: ET.Element, mark: Mark, x: Axis, y: Axis, label_y: float) -> None:
    kind = f"mark stroke-{mark.colour}" if mark.colour else "mark"
    if mark.along == "y":
        at = _y(y, mark.at)
        _rule(svg, kind, (LEFT, at), (WIDTH - RIGHT, at))
        _text(svg, (WIDTH - RIGHT, at - 4), mark.label, "end", "mark-label")
        return
    at = _x(x, mark.at)
    _rule(svg, kind, (at, TOP), (at, HEIGHT - BOTTOM))
    near_the_end = at > WIDTH - 60
    side = ("end", -3) if near_the_end else ("start", 3)
    if mark.label:
        _text(svg, (at + side[1], label_y), mark.label, side[0], "mark-label")


def _legend(svg: ET.Element, entries: Sequence[tuple[str, Colour, bool]]) -> None:
    """Draws the legend at the top right, from right to left."""
    right = float(WIDTH - RIGHT)
    for label, colour, dashed in reversed(entries):
        start = right - len(label) * _LETTER
        _text(svg, (start, _LEGEND_Y), label)
        kind = "line dashed" if dashed else "line"
        _rule(
            svg,
            f"{kind} stroke-{colour}",
            (start - _SWATCH, _LEGEND_Y - 4),
            (start - 5, _LEGEND_Y - 4),
        )
        right = start - _SWATCH - 12


def _label_lines(svg: ET.Element, lines: Iterable[Line], x: Axis, y: Axis) -> None:
    """Draws each line's name above its end, from the top, no two on one another."""
    ends = []
    for line in lines:
        known = [(at, value) for at, value in line.points if value is not None]
        if known:
            at, value = max(known)
            ends.append((_y(y, value), _x(x, at), line))
    floor = float(HEIGHT - BOTTOM - 3)
    heights = [end - 5 for end, _, _ in sorted(ends, key=lambda each: each[0])]
    for place, height in enumerate(heights):
        above = heights[place - 1] + _LABEL_HEIGHT if place else TOP - 2.0
        heights[place] = max(height, above)
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], floor - (len(heights) - 1 - place) * _LABEL_HEIGHT)
    for height, (_, at, line) in zip(heights, sorted(ends, key=lambda each: each[0]), strict=True):
        right = min(max(at, LEFT + len(line.label) * _LETTER), WIDTH - 2.0)
        _text(svg, (right, height), line.label, "end", "line-label")


def _unbroken(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The runs of points with values, split at points without one."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _path(points: Sequence[tuple[float, float]], *, stepped: bool) -> str:
    first = f"M{_n(points[0][0])} {_n(points[0][1])}"
    if stepped:
        rest = "".join(f"H{_n(b[0])}V{_n(b[1])}" for _, b in pairwise(points))
    else:
        rest = "".join(f"L{_n(x)} {_n(y)}" for x, y in points[1:])
    return first + rest


def _rule(svg: ET.Element, kind: str, start: Spot, end: Spot) -> None:
    ends = {"x1": _n(start[0]), "y1": _n(start[1]), "x2": _n(end[0]), "y2": _n(end[1])}
    ET.SubElement(svg, "line", {"class": kind, **ends})


def _text(svg: ET.Element, at: Spot, text: str, anchor: str = "start", kind: str = "") -> None:
    place = {"x": _n(at[0]), "y": _n(at[1]), "text-anchor": anchor}
    element = ET.SubElement(svg, "text", {**place, **({"class": kind} if kind else {})})
    element.text = text


def _x(axis: Axis, value: float) -> float:
    return LEFT + _INNER_WIDTH * axis.place(value)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - _INNER_HEIGHT * axis.place(value)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text_of(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")
