"""The report's page in a real browser."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from kubectl_diffusion.report.loadtest.document import of_file, of_test
from kubectl_diffusion.report.loadtest.page import html
from load_reports import nothing_answered, ramp, search

Object = dict[str, Any]
Made = Callable[[], Object]
SAMPLES = [ramp, search, nothing_answered]
PHONE = {"width": 360, "height": 780}


@pytest.fixture
def complaints() -> list[str]:
    """Console messages, page errors and network requests, none of which may happen."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: _note_network(request.url, complaints))
    yield page
    page.close()


def _note_network(url: str, complaints: list[str]) -> None:
    if not url.startswith(("file:", "data:")):
        complaints.append(f"asks for {url}")


def opened(page: Page, tmp_path: Path, report: Object, title: str = "default/ramp") -> Page:
    path = tmp_path / "report.html"
    path.write_text(html(of_file(json.dumps(report), title)))
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("made", SAMPLES)
def test_the_browser_reports_no_error_and_sends_no_request(
    page: Page, tmp_path: Path, complaints: list[str], made: Made
) -> None:
    opened(page, tmp_path, made())
    assert complaints == []
    # The style sheet is applied: the policy allows its hash.
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.tile')).borderTopWidth") == "1px"
    )


@pytest.mark.parametrize("made", SAMPLES)
def test_nothing_scrolls_sideways_on_a_phone_but_the_table_of_stages(
    page: Page, tmp_path: Path, made: Made
) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type] # Playwright takes a plain dict
    opened(page, tmp_path, made())
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert page.evaluate(wide) is False
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)"
    )
    assert min(sizes) > 9


def test_a_ramp_has_the_three_figures_of_a_load_test_and_more(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, ramp())
    charts = page.eval_on_selector_all("figure", "all => all.map(each => each.id)")
    assert charts == [
        "requests",
        "latencies",
        "users",
        "replicas",
        "distribution",
        "timings",
        "shares",
    ]
    for chart in charts:
        box = page.locator(f"#{chart} svg").bounding_box()
        assert box is not None
        assert box["width"] > 300
    assert page.locator("table").first.locator("tbody tr").count() == 3
    assert page.locator("#latencies path").count() == 2
    assert page.locator("#shares .note").inner_text() == "an even share is 33.33%"
    shares = page.locator("#shares text").all_text_contents()
    assert shares[1::2] == ["66.67%", "20%", "13.33%"]
    assert [name[-5:] for name in shares[::2]] == ["x2x4z", "k8v7q", "m5n9b"]


def test_a_search_has_its_curve_and_its_knee(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, search())
    assert page.locator("#curve .note").inner_text() == "knee: 24 users"
    assert page.locator("#curve circle").count() == 20
    assert page.locator(".tile").first.locator(".value").inner_text() == "24 users"


def test_a_run_without_an_answer_says_so_and_draws_no_latency(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, nothing_answered())
    assert "every request failed" in page.locator(".verdict.bad").first.inner_text()
    assert page.locator("#latencies path").count() == 0
    assert page.locator("#distribution").count() == 0


def test_no_text_of_a_chart_is_cut_off(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, ramp())
    outside = page.evaluate(
        """[...document.querySelectorAll('svg')].flatMap(svg => {
             const frame = svg.getBoundingClientRect();
             return [...svg.querySelectorAll('text')].filter(text => {
               const box = text.getBoundingClientRect();
               return box.left < frame.left - 1 || box.right > frame.right + 1;
             }).map(text => text.textContent);
           })"""
    )
    assert outside == []


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_it_is_dark_where_the_browser_prefers_dark(
    page: Page, tmp_path: Path, scheme: Any, *, dark: bool
) -> None:
    page.emulate_media(color_scheme=scheme)
    opened(page, tmp_path, ramp())
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    first = int(colour.removeprefix("rgb(").split(",")[0])
    assert (first < 60) is dark


def test_it_prints_in_ink_on_paper(page: Page, tmp_path: Path) -> None:
    page.emulate_media(color_scheme="dark", media="print")
    opened(page, tmp_path, ramp())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_names_from_outside_are_text_and_nothing_else(
    page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    report = ramp()
    evil = "<script>console.log('run')</script><img src=http://127.0.0.1:1/x>"
    report["target"]["fingerprint"]["model"] = evil
    report["summary"]["failuresByKind"] = {evil: 1}
    report["valid"]["message"] = evil
    opened(page, tmp_path, report, title=evil)
    assert complaints == []
    assert page.locator("img, script").count() == 0
    assert evil in page.locator("h1").inner_text()


def test_the_status_of_the_load_test_overrides_the_runners_verdict() -> None:
    report = ramp("abc")
    valid = {"type": "Valid", "status": "False", "reason": "TargetScaled", "message": "1 to 2"}
    status: Object = {"run": "abc", "conditions": [valid]}
    status["target"] = {"fingerprint": {"digest": "d", "image": "x@sha256:1", "replicas": 3}}
    test = {"metadata": {"name": "ramp", "namespace": "shop"}, "status": status}
    document = of_test(test, json.dumps(report))
    assert [(each.type, each.reason) for each in document.verdicts] == [("Valid", "TargetScaled")]
    assert document.facts["image"] == "x@sha256:1"
    other = of_test({**test, "status": {**status, "run": "older"}}, json.dumps(report))
    assert ("Valid", "Measured") in [(each.type, each.reason) for each in other.verdicts]
