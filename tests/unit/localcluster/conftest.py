import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster.console import Progress
from localcluster.paths import Cache, ClusterPaths


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def progress(output: io.StringIO) -> Progress:
    return Progress(output)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.of({"XDG_CACHE_HOME": str(tmp_path / "cache")})


@pytest.fixture
def paths(cache: Cache) -> ClusterPaths:
    return cache.cluster("demo")


class Programs:
    """Stand-ins for other programs, which record their arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "calls"

    def add(self, name: str, body: str = "") -> None:
        file = self.folder / name
        record = f'printf "%s" "{name}" >> {self._log}; printf " %s" "$@" >> {self._log}'
        file.write_text(f"#!/bin/sh\n{record}; echo >> {self._log}\n{body}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def calls(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def programs_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A folder that comes first on PATH; programs that are not in it are the machine's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Programs(folder)


@pytest.fixture
def only_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Programs]:
    """A function that sets PATH to stand-ins and the named programs of the machine."""

    def make(*real: str) -> Programs:
        folder = tmp_path / "only"
        folder.mkdir()
        search = os.environ["PATH"].split(os.pathsep)
        for name in real:
            program = next(Path(p) / name for p in search if (Path(p) / name).exists())
            (folder / name).symlink_to(program)
        monkeypatch.setenv("PATH", str(folder))
        return Programs(folder)

    return make
