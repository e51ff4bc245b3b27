"""Commits compared by history, so that a late run goes back behind nothing."""

import subprocess
from pathlib import Path

import pytest

from newer_commit import is_older


@pytest.fixture
def commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two commits of a fresh repository, in which the test then runs."""
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    made = []
    for number in range(2):
        message = ["--allow-empty", "--message", str(number)]
        subprocess.run([*git, "commit", "--quiet", *message], check=True)
        shown = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True)
        made.append(shown.stdout.decode().strip())
    return made


def test_an_ancestor_is_older(commits: list[str]) -> None:
    first, second = commits
    assert is_older(first, second)
    assert not is_older(second, first)


def test_the_same_an_unknown_and_no_commit_are_no_obstacle(commits: list[str]) -> None:
    for in_place in (commits[0], "f" * 40, ""):
        assert not is_older(commits[0], in_place)
