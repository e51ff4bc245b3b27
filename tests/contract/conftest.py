"""What tests of several programs need: a real browser."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; `make test-contract` installs it. Its event loop must end before others' begin."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program is not None, "there is no chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        # no sandbox of its own: the tests may run as root, and the page is ours
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
