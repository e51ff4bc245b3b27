"""Axes and charts of the reports."""

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from kubectl_diffusion.charts import (
    Bars,
    DotRow,
    Line,
    Mark,
    Share,
    Stack,
    bar_chart,
    clock,
    dot_chart,
    line_chart,
    linear,
    logarithmic,
    number,
    share_chart,
    spanning,
    stack_chart,
)
from kubectl_diffusion.documents.comparison_report import ComparisonReport
from kubectl_diffusion.documents.load_report import Histogram
from kubectl_diffusion.report.comparison.charts import variant_series
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


def test_a_spanning_axis_has_round_ends_around_all_values() -> None:
    axis = spanning("per second", [2.72, 5.7])
    assert [text for _, text in axis.ticks] == ["2", "3", "4", "5", "6"]
    assert [axis.place(value) for value in (2, 4, 6)] == [0, 0.5, 1]
    one = spanning("per second", [5.0, 5.0])
    assert 0 <= one.place(5.0) <= 1
    assert spanning("per second", []).place(0) == 0


def test_a_dot_chart_has_every_value_and_the_interval_of_the_mean() -> None:
    row = DotRow("litserve", [5.5, 5.6, 5.7], 5.6, 5.45, 5.75, "5.6 (5.45 to 5.75)")
    alone = DotRow("fastapi", [2.7], 2.7, None, None, "2.7")
    svg = ET.fromstring(dot_chart("Ranked", [row, alone], spanning("per second", [2, 6])))  # noqa: S314
    rings = [each for each in svg.iter(f"{SVG}circle") if each.get("class") == "dot stroke-first"]
    assert len(rings) == 4
    places = [float(each.get("cx", "")) for each in rings]
    assert places[0] < places[1] < places[2]
    assert places[3] < places[0]
    bars = [each for each in svg.iter(f"{SVG}line") if each.get("class") == "line stroke-first"]
    assert len(bars) == 3  # the interval and its ends; one repetition has none
    titles = [each.text for each in svg.iter(f"{SVG}title")]
    assert titles == ["litserve: 5.6 (5.45 to 5.75)", "fastapi: 2.7"]


def test_lines_carry_their_names_apart_even_where_they_coincide() -> None:
    points = [(0.0, 1.0), (10.0, 0.0)]
    lines = [Line(f"variant-{n}", "first", points) for n in range(4)]
    svg = line_chart("Users", clock("minutes", 10), linear("users", [4.0]), lines, legend=False)
    labels = ET.fromstring(svg).iter(f"{SVG}text")  # noqa: S314 - our own
    names = {str(each.text): each for each in labels if each.get("class") == "line-label"}
    assert sorted(names) == [f"variant-{n}" for n in range(4)]
    heights = sorted(float(each.get("y", "")) for each in names.values())
    assert min(b - a for a, b in pairwise(heights)) >= 11
    assert heights[-1] <= 210  # above the axis


def test_colours_that_some_take_for_one_another_differ_by_their_dashes() -> None:
    results = [{"variant": f"v{n}", "runs": 1} for n in range(12)]
    method = {"criterion": "c", "alpha": 0.01, "smallestEffect": 0.03, "confidence": 0.95}
    head = {"version": 1, "name": "a", "namespace": "shop", "spec": {}, "runs": []}
    report = ComparisonReport.model_validate(
        {**head, "results": results, "method": {**method, "test": "t"}}
    )
    series = variant_series(report)
    dashed = {str(each.colour): each.dashed for each in series[:6]}
    for one, other in (("first", "third"), ("second", "fifth"), ("fourth", "sixth")):
        assert dashed[one] != dashed[other]
    assert len({(each.colour, each.dashed) for each in series}) == 12
