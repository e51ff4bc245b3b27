"""Tests that are skipped while their subject is as it was when they passed."""

from pathlib import Path

import pytest

from unchanged import Passed


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one folder, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "checkout" / "folder" / "deeper"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text("1")
    return tmp_path / "checkout"


def passed(root: Path) -> Passed:
    return Passed("subject", "folder", root=root)


def test_a_test_that_passed_does_not_run_again_in_any_checkout_of_that_content(root: Path) -> None:
    assert not passed(root).has("a test")
    passed(root).add("a test")
    assert passed(root).has("a test")
    assert passed(root.rename(root.with_name("another"))).has("a test")


def test_each_test_counts_for_itself(root: Path) -> None:
    passed(root).add("a test")
    assert not passed(root).has("another test")


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_any_change_in_the_folder_makes_the_test_run_again(root: Path, change: str) -> None:
    passed(root).add("a test")
    module = root / "folder" / "deeper" / "module.py"
    if change == "content":
        module.write_text("2")
    elif change == "name":
        module.rename(module.with_name("other.py"))
    else:
        (root / "folder" / "more.toml").write_text("")
    assert not passed(root).has("a test")


def test_pythons_compiled_files_are_no_change(root: Path) -> None:
    passed(root).add("a test")
    compiled = root / "folder" / "__pycache__"
    compiled.mkdir()
    (compiled / "module.pyc").write_text("")
    assert passed(root).has("a test")
