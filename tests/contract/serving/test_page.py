"""The page at /ui in a real browser; its picture with the demo model.

The requests of the page and their events are tested with each backend. Its other tests need one,
since each serves the same files (`Surface.test_page_and_its_files_are_the_packaged_ones`).
"""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from demo_model.checker import look, read
from demo_model.shapes import parse
from serving_process import Pool, Server, Variant

PROMPT = "a red circle on a blue background"
PHONE: Any = {"width": 360, "height": 780}
STEPS = 60
"""Enough steps to see the bar move."""


@pytest.fixture
def complaints() -> list[str]:
    """Console messages, page errors, and requests to other hosts; none may happen."""
    return []


@contextmanager
def visited(browser: Browser, server: Server, complaints: list[str], path: str) -> Iterator[Page]:
    """A page of the server in its own browser context."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def note(request: Request) -> None:
        if not request.url.startswith((server.url, "blob:", "data:")):
            complaints.append(f"requests {request.url}")

    page.on("request", note)
    page.goto(f"{server.url}{path}")
    yield page
    context.close()


@contextmanager
def opened(browser: Browser, server: Server, complaints: list[str]) -> Iterator[Page]:
    """The page that generates images, once it knows its server."""
    with visited(browser, server, complaints, "/ui") as page:
        expect(page.locator("#about")).to_contain_text("float32", timeout=60_000)
        yield page


@pytest.fixture
def page(browser: Browser, quick: Server, complaints: list[str]) -> Iterator[Page]:
    with opened(browser, quick, complaints) as page:
        yield page


def test_the_description_sends_a_real_request(
    browser: Browser, quick: Server, complaints: list[str]
) -> None:
    with visited(browser, quick, complaints, "/docs") as page:
        operation = page.locator("#operations-default-predict")
        operation.get_by_role("button").first.click()
        operation.locator("textarea").fill('{"prompt": "x", "seed": 7, "format": "webp"}')
        operation.get_by_role("button", name="Execute").click()
        answer = operation.locator(".live-responses-table")
        expect(answer).to_contain_text('"seed": 7', timeout=60_000)
        expect(answer.locator(".response-col_status").last).to_contain_text("200")
    assert complaints == []


def make(page: Page, pictures: int = 1) -> None:
    """Presses the button, and waits for that many more pictures."""
    before = page.locator("figure").count()
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("figure")).to_have_count(before + pictures, timeout=60_000)


def saved(page: Page, folder: Path, place: int = 0) -> Path:
    """Downloads the picture at that place."""
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").nth(place).click()
    path = folder / f"{place}-{download.value.suggested_filename}"
    download.value.save_as(path)
    return path


def seeds(page: Page) -> list[int]:
    facts = page.locator("figure .facts").all_inner_texts()
    return [int(re.findall(r"Seed (\d+)", fact)[0]) for fact in facts]


def test_the_picture_is_the_servers_and_the_bar_moves_with_the_steps(
    page: Page, quick: Server, tmp_path: Path, complaints: list[str]
) -> None:
    page.get_by_label("Prompt", exact=True).fill(PROMPT)
    page.get_by_label("Steps").fill(str(STEPS))
    page.get_by_label("Seed").fill("7")
    page.evaluate(
        """() => { window.seen = []; const bar = document.querySelector('#bar');
             new MutationObserver((changes) => { for (const {oldValue} of changes) {
               if (oldValue !== null) window.seen.push([Number(oldValue), bar.max]); }
               if (bar.hasAttribute('value')) window.seen.push([bar.value, bar.max]); })
             .observe(bar, {attributeFilter: ['value'], attributeOldValue: true}); }"""
    )
    make(page)
    seen = page.evaluate("window.seen")
    assert [STEPS, STEPS] in seen
    assert len({value for value, _ in seen}) >= 3, "the bar jumped to its end"
    picture = saved(page, tmp_path)
    assert picture.name == "0-7.png"
    (image,) = quick.predict(prompt=PROMPT, steps=STEPS, seed=7).json()["images"]
    assert picture.read_bytes() == base64.b64decode(image)
    assert "denoise" in page.locator("figure .facts").first.inner_text()
    assert complaints == []


def test_the_picture_is_what_its_prompt_says(
    browser: Browser, demo_server: Server, tmp_path: Path, complaints: list[str]
) -> None:
    with opened(browser, demo_server, complaints) as page:
        page.get_by_label("Prompt", exact=True).fill(PROMPT)
        page.get_by_label("Steps").fill("8")
        page.get_by_label("Guidance").fill("2")
        page.get_by_label("Seed").fill("7")
        make(page)
        assert look(read(saved(page, tmp_path))).differences(parse(PROMPT)) == []
    assert complaints == []


def _likeness(first: Path, second: Path) -> float:
    """Mean difference of two pictures, of 255; a batch may be rounded differently."""
    return float(abs(read(first) - read(second)).mean() * 255)


class TestPage:
    """The page with one backend."""

    @pytest.fixture
    def quick(self, pool: Pool) -> Server:
        return pool.quick(Variant("fastapi"))

    def test_several_at_once_each_have_a_seed_that_makes_them_again(
        self, page: Page, tmp_path: Path, complaints: list[str]
    ) -> None:
        page.get_by_label("Prompt", exact=True).fill("two green squares")
        page.get_by_label("Pictures").fill("3")
        make(page, pictures=3)
        assert len(set(seeds(page))) == 3
        second = saved(page, tmp_path, 1)
        seed = seeds(page)[1]
        page.get_by_role("button", name="Same again").nth(1).click()
        expect(page.locator("figure")).to_have_count(4, timeout=60_000)
        assert seeds(page)[0] == seed
        again = saved(page, tmp_path, 0)
        assert _likeness(second, again) < 2, "the same seed made another picture"
        assert complaints == []

    def test_the_curl_of_a_picture_is_the_request_that_made_it(
        self, page: Page, quick: Server, complaints: list[str]
    ) -> None:
        page.get_by_label("Prompt", exact=True).fill("a red circle")
        page.get_by_label("Negative prompt").fill("it's blue")
        page.get_by_label("Steps").fill("4")
        make(page)
        page.get_by_role("button", name="Copy as curl").click()
        copied = str(page.evaluate("navigator.clipboard.readText()"))
        assert copied.startswith(f"curl '{quick.url}/predict'")
        assert '"negative_prompt":"it\'\\\'\'s blue"' in copied
        assert f'"seed":{seeds(page)[0]}' in copied
        assert complaints == []

    def test_a_refusal_names_the_field(self, page: Page) -> None:
        page.get_by_label("Prompt", exact=True).fill("a red circle")
        page.evaluate("document.querySelector('#form').noValidate = true")
        page.get_by_label("Steps").fill("501")
        page.get_by_role("button", name="Generate").click()
        expect(page.get_by_role("alert")).to_contain_text("steps")

    def test_it_works_by_keyboard_on_a_phone_in_the_dark(
        self, page: Page, complaints: list[str]
    ) -> None:
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark")
        page.reload()
        page.keyboard.type(PROMPT)  # the prompt has the focus from the start
        page.keyboard.press("Control+Enter")
        expect(page.locator("figure")).to_have_count(1, timeout=60_000)
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert page.evaluate(wide) is False
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert int(re.findall(r"\d+", ink)[0]) > 127, "dark ink on a dark page"
        assert complaints == []
