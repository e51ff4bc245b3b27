"""A real browser for the tests, and the groups of tests that share a worker."""

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright
from xdist.remote import Producer  # type: ignore[import-untyped] # it is not marked as typed

from groups import ByGroup

# More threads slow down a model this small, and much more so when the cores are busy.
os.environ["OMP_NUM_THREADS"] = "1"

GROUPS = (
    ("serving/test_page.py::test_the_picture_is_what_its_prompt_says", "demo-model"),
    ("serving/test_mixed_requests.py", "demo-model"),
    ("serving/test_surface.py::TestPicturesOfWholeCalls", "fastapi"),
    ("serving/test_page.py::TestPage", "fastapi"),
    ("serving/test_pipeline", "pictures"),
    ("serving/test_compare_precision.py", "pictures"),
    ("serving/test_gpu_check.py", "pictures"),
    ("serving/test_steps.py", "pictures"),
    ("serving/test_decoding.py", "pictures"),
    ("serving/test_prompts.py", "pictures"),
    ("demo_model/", "demo-model"),
    ("sources/test_buckets.py", "buckets"),
    ("loadtest/test_known_target.py", "known-target"),
)
"""Beginnings of test ids, and the group of each; one worker runs all tests of a group.

A test that fits none of them is in the group of its server's variant, else of its folder. The tests
of a group share the servers that they start. The load test's tests are two groups of about equal
length, because more of them side by side would disturb each other's timing.
"""

SLOWEST_FIRST = (
    "loadtest",
    "rayserve",
    "terraform",
    "known-target",
    "pictures",
    "litserve",
    "demo-model",
    "fastapi",
    "litserve-framework",
)
"""The order in which groups begin: long ones first, so that none of them ends last."""

_BELOW = "tests/contract/"
_VARIANT = re.compile(r"\[(?:.*-)?(rayserve|litserve-framework|litserve|fastapi)\b")


def group(nodeid: str) -> str:
    """The group of the test with that node id."""
    path = nodeid.removeprefix(_BELOW)
    for start, name in GROUPS:
        if path.startswith(start):
            return name
    variant = _VARIANT.search(path)
    return variant[1] if variant else path.partition("/")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of each group together, and the groups into the order of `SLOWEST_FIRST`."""
    places = {name: place for place, name in enumerate(SLOWEST_FIRST)}

    def place(item: pytest.Item) -> int:
        if not item.nodeid.startswith(_BELOW):
            return -1
        return places.setdefault(group(item.nodeid), len(places))

    items.sort(key=place)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup | None:
    """Keeps the tests of a group together, for `--dist loadscope`."""
    return ByGroup(config, log, group) if config.getoption("dist") == "loadscope" else None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; `make test-contract` installs it. Its event loop must end before another begins."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program is not None, "there is no chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses root, which the tests may run as; the page is trusted.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
