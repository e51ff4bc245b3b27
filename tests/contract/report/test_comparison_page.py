"""The page of a Comparison in a real browser, and its tables."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from comparison_reports import NO_ENERGY, SEARCH, SPEEDS, USERS, study
from kubectl_diffusion.__main__ import main
from kubectl_diffusion.documents.comparison_report import ComparisonReport

Object = dict[str, Any]
PHONE = {"width": 360, "height": 780}
DESKTOP = {"width": 1280, "height": 900}
COMPARISONS = "/apis/diffusion.dev/v1alpha1/namespaces/shop/comparisons"
CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"


@pytest.fixture
def complaints() -> list[str]:
    """Console messages, page errors and network requests, none of which may happen."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else complaints.append(request.url)
        ),
    )
    yield page
    page.close()


def opened(page: Page, tmp_path: Path, report: Object) -> Page:
    source, made = tmp_path / "report.json", tmp_path / "report.html"
    source.write_text(json.dumps(report))
    assert main(["report", str(source), "-o", str(made)]) == 0
    page.goto(made.as_uri())
    return page


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("load", [USERS, SEARCH], ids=["users", "search"])
def test_the_browser_has_no_complaint_and_nothing_but_tables_scrolls_sideways(
    page: Page, tmp_path: Path, complaints: list[str], load: Object, size: Any
) -> None:
    page.set_viewport_size(size)
    opened(page, tmp_path, study(load))
    assert complaints == []
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert page.evaluate(wide) is False


def test_the_variants_are_ranked_with_their_intervals_and_the_best_is_recommended(
    page: Page, tmp_path: Path
) -> None:
    opened(page, tmp_path, study())
    rows = page.locator("table.ranked tbody tr")
    ranked = [rows.nth(n).locator("th, td").all_inner_texts()[:3] for n in range(rows.count())]
    assert [row[:2] for row in ranked] == [
        ["litserve", "1"],
        ["rayserve", "2"],
        ["fastapi", "3"],
        ["broken", "-"],
    ]
    assert ranked[0][2].startswith("5.64 (5.")
    assert "Recommended: litserve" in page.locator(".recommended").inner_text()
    assert "broken is not ranked: NotReady" in page.locator(".unranked").inner_text()
    unknown = page.locator(".unknown").inner_text()
    assert unknown == f"joulesPerImage of litserve, rayserve, fastapi is unknown: {NO_ENERGY}."


def test_each_variant_has_its_cold_start_in_a_table(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, study())
    rows = page.locator("table.cold tbody tr")
    assert rows.count() == len(SPEEDS)
    cells = rows.first.locator("th, td").all_inner_texts()
    assert cells == ["litserve", "1", "9", "12.5", "4", "33"]


def test_each_figure_has_a_line_a_variant(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, study())
    charts = page.eval_on_selector_all("figure", "all => all.map(each => each.id)")
    assert charts == ["ranking", "requests", "latencies", "users", "curve", "tax"]
    rings = page.locator("#ranking circle.dot").count()
    assert rings == sum(run["variant"] in SPEEDS for run in study()["runs"])
    for chart in charts[1:5]:
        colours = page.eval_on_selector_all(
            f"#{chart} path.line", "all => new Set(all.map(each => each.className.baseVal)).size"
        )
        assert colours == len(SPEEDS), chart
        names = page.locator(f"#{chart} text.line-label").all_text_contents()
        assert sorted(names) == sorted(SPEEDS), chart
    assert page.locator("#tax > svg rect").count() == len(SPEEDS) * 6
    assert page.locator("#curve circle").count() == len(SPEEDS) * 3


def test_it_says_how_to_repeat_it_and_shows_no_prompt(page: Page, tmp_path: Path) -> None:
    opened(page, tmp_path, study())
    text = page.locator("main").inner_text()
    assert "Welch's t test, of the logarithms, against each other variant by itself" in text
    assert "10 for 2m, 20 for 2m, 30 for 2m" in text
    manifest = json.loads(page.locator("pre").inner_text())
    assert manifest["kind"] == "Comparison"
    assert manifest["spec"]["variants"][0] == {"name": "fastapi", "service": {"backend": "fastapi"}}
    assert "unicorn" not in page.content()


def test_names_from_outside_are_text_and_nothing_else(
    page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    report = study()
    evil = "<script>console.log('run')</script><img src=http://127.0.0.1:1/x>"
    report["conclusion"] = evil
    report["runs"][0]["fingerprint"]["model"] = evil
    report["results"][-1]["message"] = evil
    opened(page, tmp_path, report)
    assert complaints == []
    assert page.locator("img, script").count() == 0


def test_the_plugin_reads_what_the_operator_writes() -> None:
    written = study()
    read = ComparisonReport.model_validate(written)
    assert read.results[0].requests_per_second is not None
    for part in ("spec", "conclusion", "recommended"):
        assert getattr(read, part) == written[part]
    known = ComparisonReport.model_fields
    assert set(written) == {field.alias or name for name, field in known.items()}


def of_cluster(fake_cluster: Any, *arguments: str) -> int:
    comparable = {"type": "Comparable", "status": "True", "reason": "Alike", "message": "alike"}
    fake_cluster.objects[f"{COMPARISONS}/frameworks"] = {
        "metadata": {"name": "frameworks", "namespace": "shop"},
        "status": {"conditions": [comparable], "reportRef": {"name": "r", "key": "report.json"}},
    }
    fake_cluster.objects[f"{CONFIG_MAPS}/r"] = {"data": {"report.json": json.dumps(study())}}
    return main(["report", *arguments, "--kubeconfig", str(fake_cluster.kubeconfig)])


def test_the_page_of_a_comparison_in_the_cluster_is_saved(
    fake_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert of_cluster(fake_cluster, "cmp/frameworks") == 0
    assert "shop/frameworks" in (tmp_path / "frameworks-report.html").read_text()


def test_csv_has_a_row_a_variant(fake_cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert of_cluster(fake_cluster, "comparison/frameworks", "--format", "csv") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["variant"] for row in rows] == ["litserve", "rayserve", "fastapi", "broken"]
    assert float(rows[0]["requests_per_second_low"]) < float(rows[0]["requests_per_second"])
    assert rows[-1]["not_ranked"] == "NotReady"


def test_markdown_is_a_ranked_table(fake_cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert of_cluster(fake_cluster, "cmp/frameworks", "--format", "markdown") == 0
    text = capsys.readouterr().out
    assert text.startswith("# Comparison shop/frameworks\n")
    assert "| 1 | litserve | 5.64 (" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {10}
    assert text.count(NO_ENERGY) == 1


def test_json_is_the_operators_own_text(
    fake_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert of_cluster(fake_cluster, "cmp/frameworks", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == study()
