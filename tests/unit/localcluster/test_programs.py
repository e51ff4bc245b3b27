import fcntl
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localcluster import programs
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import Cache
from localcluster.programs import Program
from tests.unit.localcluster.conftest import Programs


@pytest.mark.parametrize("program", programs.ALL, ids=lambda program: program.name)
def test_a_version_is_read_from_the_module(program: Program) -> None:
    assert re.fullmatch(r"v\d+(\.\d+\.\d+)?", program.version)


def test_every_part_of_kubernetes_is_of_one_version() -> None:
    text = (programs.NODE.source / "go.mod").read_text()
    staging = re.findall(r"^\t(k8s\.io/\S+) => \1 (v\S+)$", text, re.MULTILINE)
    assert len(staging) == 31
    assert {version for _, version in staging} == {programs.NODE.version.replace("v1.", "v0.", 1)}


def test_kubernetes_is_linked_with_its_version() -> None:
    flags = programs.NODE.linker_flags
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert f"-X {package}.gitVersion={programs.NODE.version}" in flags
        assert f"-X {package}.gitMajor=1 " in flags


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A small program, built in the user's own cache, which has the compiled standard library."""
    own = os.environ.get("GOCACHE") or str(Path.home() / ".cache" / "go-build")
    monkeypatch.setenv("GOCACHE", own)
    source = tmp_path / "small"
    source.mkdir()
    (source / "go.mod").write_text("module small\n\ngo 1.25.0\n")
    (source / "main.go").write_text("package main\n\nfunc main() {}\n")
    return Program("small", ("small", "alias"), sources=tmp_path)


def test_the_hash_follows_the_sources(small: Program) -> None:
    before = small.content_hash
    assert small.content_hash == before
    (small.source / "main.go").write_text("package main\n")
    assert small.content_hash != before
    assert replace(small, package="other").content_hash != small.content_hash


needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")


@needs_go
def test_a_program_is_built_once_and_found_by_each_of_its_names(
    small: Program, cache: Cache, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = programs.built(small, cache, progress)
    assert (folder / "alias").resolve() == (folder / "small").resolve()
    monkeypatch.setenv("PATH", "/nonexistent")  # a second build would fail
    assert programs.built(small, cache, progress) == folder


@needs_go
def test_a_compiler_error_is_shown_and_leaves_nothing(
    small: Program, cache: Cache, progress: Progress
) -> None:
    (small.source / "main.go").write_text("package main\n\nfunc main() { nonsense }\n")
    with pytest.raises(LocalClusterError, match="undefined: nonsense"):
        programs.built(small, cache, progress)
    assert not (cache.programs / f"small-{small.content_hash}").exists()


def test_missing_go_is_an_error(
    small: Program, cache: Cache, progress: Progress, only_programs: Callable[..., Programs]
) -> None:
    only_programs()
    with pytest.raises(LocalClusterError, match=r"install Go 1\.25 or newer"):
        programs.built(small, cache, progress)


def test_old_go_is_an_error(
    small: Program, cache: Cache, progress: Progress, programs_on_path: Programs
) -> None:
    programs_on_path.add("go", "echo go version go1.19.8 linux/amd64")
    with pytest.raises(LocalClusterError, match=r"Go 1\.19 is too old"):
        programs.built(small, cache, progress)


def test_a_download_is_tried_again(
    small: Program,
    cache: Cache,
    progress: Progress,
    programs_on_path: Programs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    programs_on_path.add(
        "go", '[ "$1" = version ] && echo go1.26.1 || { echo no route >&2; exit 1; }'
    )
    with pytest.raises(LocalClusterError, match=r"cannot be downloaded: (?s:.*)no route"):
        programs.built(small, cache, progress)
    assert [call.split()[1] for call in programs_on_path.calls()] == ["version"] + ["list"] * 4
    assert pauses == [2.0, 4.0, 8.0]


def test_go_keeps_its_caches_apart_from_the_users_own(cache: Cache) -> None:
    settings = programs.go_settings(cache, {"GOCACHE": ""})
    assert settings["GOCACHE"] == str(cache.go / "build")
    assert settings["GOMODCACHE"] == str(cache.go / "modules")


def test_caches_and_compiler_settings_that_the_user_chose_stay(cache: Cache) -> None:
    chosen = {"GOCACHE": "/mine", "GOGC": "50", "PATH": "/bin"}
    settings = programs.go_settings(cache, chosen)
    assert set(settings) == {"CGO_ENABLED", "GOMODCACHE", "GOMEMLIMIT"}


def test_a_program_is_compiled_without_debug_tables_and_in_separate_caches(
    small: Program,
    cache: Cache,
    progress: Progress,
    programs_on_path: Programs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GOCACHE")
    programs_on_path.add(
        "go",
        f'[ "$1" = version ] && echo go1.26.1; [ "$1" = build ] || exit 0; '
        f'echo "$GOCACHE" > {programs_on_path.folder}/used; while [ "$1" != -o ]; do shift; done; '
        'echo program > "$2"',
    )
    programs.built(small, cache, progress)
    (build,) = [call for call in programs_on_path.calls() if call.startswith("go build")]
    assert "-gcflags all=-dwarf=false" in build
    assert (programs_on_path.folder / "used").read_text().strip() == str(cache.go / "build")


def test_tidying_removes_gos_caches_and_leaves_the_programs(cache: Cache) -> None:
    kept = cache.programs / "node-0" / "kubelet"
    for file in (kept, cache.go / "build" / "00" / "object", cache.go / "modules" / "source.go"):
        file.parent.mkdir(parents=True)
        file.touch()
    assert programs.tidy(cache)
    assert not cache.go.exists()
    assert kept.exists()
    assert programs.tidy(cache)


def test_tidying_leaves_the_caches_to_a_build_that_is_running(cache: Cache) -> None:
    cache.go.mkdir(parents=True)
    with cache.go_lock.open("w") as build:
        fcntl.flock(build, fcntl.LOCK_SH)
        assert not programs.tidy(cache)
    assert cache.go.exists()
