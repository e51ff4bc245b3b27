"""Tests that needn't run again: they passed on this machine, and their files are unchanged."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Passed:
    """The tests that passed with the present content of some files, from the machine's cache."""

    def __init__(self, subject: str, *paths: str, root: Path = ROOT) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._folder = cache / "diffusion-operator" / "tests" / subject
        self._content = _content(root, paths)

    def has(self, test: str) -> bool:
        mark = self._mark(test)
        return mark.exists() and mark.read_text() == self._content

    def add(self, test: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._mark(test).write_text(self._content)

    def _mark(self, test: str) -> Path:
        return self._folder / hashlib.sha256(test.encode()).hexdigest()[:16]


def _content(root: Path, paths: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted([root / path, *(root / path).rglob("*")]):
            if file.is_file() and "__pycache__" not in file.parts:
                for part in (file.relative_to(root).as_posix().encode(), file.read_bytes()):
                    digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
