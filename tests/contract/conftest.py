"""What tests of several programs need: a real browser, and workers that share what is costly."""

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright
from xdist.remote import Producer  # type: ignore[import-untyped] # it is not marked as typed

from groups import ByGroup

# So small a model is slowed down by more threads, and much so where the cores are busy.
os.environ["OMP_NUM_THREADS"] = "1"

GROUPS = (
    ("serving/test_page.py::test_the_picture_is_what_its_prompt_says", "demo-model"),
    ("serving/test_mixed_requests.py", "demo-model"),
    ("serving/test_pipeline", "pictures"),
    ("serving/test_compare_precision.py", "pictures"),
    ("demo_model/", "demo-model"),
    ("sources/test_buckets.py", "buckets"),
)
"""By the beginning of a test's id, the tests that one worker runs; then those of a variant of the
server, then those of a folder.

They share what they start; those of the load test would otherwise disturb each other's timing.
"""

SLOWEST_FIRST = (
    "loadtest",
    "rayserve",
    "terraform",
    "pictures",
    "litserve",
    "demo-model",
    "fastapi",
    "litserve-framework",
)
"""The order in which groups begin, so that no long one is left to the end; then all others."""

_BELOW = "tests/contract/"
_VARIANT = re.compile(r"\[(?:.*-)?(rayserve|litserve-framework|litserve|fastapi)\b")


def group(nodeid: str) -> str:
    """The tests that this one shares a worker with."""
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
    """Where tests are to be kept together (`--dist loadscope`), that is by group."""
    return ByGroup(config, log, group) if config.getoption("dist") == "loadscope" else None


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
