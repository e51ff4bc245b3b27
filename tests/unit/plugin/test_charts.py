"""Axes and charts of the reports."""

from xml.etree import ElementTree as ET

import pytest

from kubectl_diffusion.charts import (
    Bars,
    Line,
    Mark,
    Share,
    Stack,
    bar_chart,
    clock,
    line_chart,
    linear,
    logarithmic,
    number,
    share_chart,
    stack_chart,
)
from kubectl_diffusion.documents.load_report import Histogram
from kubectl_diffusion.report.loadtest.charts import binned
from kubectl_diffusion.report.rendering.numbers import milliseconds, percent

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (8, "8"),
        (4.4925, "4.49"),
        (1234.5, "1,234"),
        (0.001234, "0.00123"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("top", "labels"),
    [
        (4.4, ["0", "1", "2", "3", "4", "5"]),
        (30, ["0", "10", "20", "30"]),
        (0.7, ["0", "0.2", "0.4", "0.6", "0.8"]),
        (0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (12345, ["0", "5,000", "10,000", "15,000"]),
    ],
)
def test_an_axis_ends_in_a_round_number(top: float, labels: list[str]) -> None:
    axis = linear("", [0.0, top])
    assert [text for _, text in axis.ticks] == labels
    assert axis.place(axis.ticks[-1][0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (360, ["0:00", "2:00", "4:00", "6:00"]),
        (5, ["0:00", "0:01", "0:02", "0:03", "0:04", "0:05"]),
        (7200, ["0:00", "30:00", "1:00:00", "1:30:00", "2:00:00"]),
        (0, ["0:00", "0:01"]),
    ],
)
def test_time_is_ticked_as_on_a_clock(seconds: float, labels: list[str]) -> None:
    assert [text for _, text in clock("", seconds).ticks] == labels


def test_a_logarithmic_axis_goes_from_end_to_end() -> None:
    axis = logarithmic("", 0.4, 21)
    assert [text for _, text in axis.ticks] == ["0.5", "1", "2", "5", "10", "20"]
    assert axis.place(0.4) == pytest.approx(0)
    assert axis.place(21) == pytest.approx(1)
    assert [text for _, text in logarithmic("", 0.001, 100).ticks] == (
        ["0.001", "0.01", "0.1", "1", "10", "100"]
    )


def parts(svg: str, kind: str) -> list[ET.Element]:
    return ET.fromstring(svg).findall(f".//{SVG}{kind}")  # noqa: S314 - our own


def test_a_point_without_a_value_breaks_the_line() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, 3.0)]
    x, y = linear("", [3.0]), linear("", [3.0])
    svg = line_chart("t", x, y, [Line("a", "first", points)], [Mark(1.5, "here")])
    assert len(parts(svg, "path")) == 2
    # a single point is a circle, since a line needs two points
    assert len(parts(svg, "circle")) == 1
    assert "here" in [text.text for text in parts(svg, "text")]


def test_only_several_lines_have_a_legend() -> None:
    x, y = linear("", [1.0]), linear("", [1.0])
    one, two = Line("one", "first", [(0, 0)]), Line("two", "bad", [(0, 0)])
    words = [text.text for text in parts(line_chart("t", x, y, [one]), "text")]
    assert "one" not in words
    words = [text.text for text in parts(line_chart("t", x, y, [one, two]), "text")]
    assert {"one", "two"} <= set(words)


def test_markup_in_a_text_is_escaped() -> None:
    evil = '<script>"&'
    svg = share_chart(evil, [Share(evil, 1.0, "first", evil)])
    assert "<script" not in svg
    assert [text.text for text in parts(svg, "text")] == [evil, evil]
    bars = bar_chart("t", linear("", [1.0]), linear("", [1.0]), Bars([(0.0, 1.0, 1.0, evil)]))
    assert "<script" not in bars


def test_a_stacks_longest_label_stands_within_the_chart() -> None:
    label = "rayserve-framework"
    svg = stack_chart("t", [Stack(label, [Share("a", 1.0, "first", "1")], "1 ms")])
    (end,) = [float(text.attrib["x"]) for text in parts(svg, "text") if text.text == label]
    widest = 7.4  # the average width of a letter of 12 units in the common sans-serif fonts
    assert end - len(label) * widest >= 0


def test_bins_lose_no_request() -> None:
    histogram = Histogram(buckets=((100.0, 3), (150.0, 2), (999.9, 1)))
    bins = binned(histogram, 90.0, 1000.0, 10)
    assert sum(count for _, _, count in bins) == 6
    assert bins[0][0] == pytest.approx(90)
    assert bins[-1][1] == pytest.approx(1000)
    assert bins[-1][2] == 1


def test_figures_are_written_for_people() -> None:
    assert [milliseconds(value) for value in (None, 812.4, 3456.7)] == ["-", "812 ms", "3.46 s"]
    assert [percent(ratio) for ratio in (0, 0.0123, 1)] == ["0%", "1.23%", "100%"]
