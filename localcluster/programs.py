"""Programs built from Go sources, each stored under the hash of its sources and options."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from localcluster import shell
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import Cache

_SOURCES = Path(__file__).parent / "go"
_MINIMUM_GO = (1, 25)
_DOWNLOAD_ATTEMPTS = 4
# The compiler writes no debug tables, which the linker drops anyway, and seldom collects garbage.
# Both save a quarter of the CPU time. The memory limit keeps two compilers within 4 GB.
_COMPILER_FLAGS = "all=-dwarf=false"
_COMPILER_SETTINGS = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}
_KUBERNETES_VERSIONS = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


@dataclass(frozen=True)
class Program:
    """A Go module below `sources`, its package to build, and the module that has its version.

    `called` are the names of the one binary, `version_variable` is the Go variable for its version,
    `hint` is the time of the first build.
    """

    name: str
    called: tuple[str, ...]
    package: str = "."
    versioned_by: str | None = None
    version_variable: str | None = None
    hint: str = "a minute"
    sources: Path = _SOURCES

    @property
    def source(self) -> Path:
        return self.sources / self.name

    @property
    def version(self) -> str:
        """The version, such as `v1.2.3`, from go.mod, its only source."""
        if self.versioned_by is None:
            return "v1"
        pattern = rf"^\s*(?:require )?{re.escape(self.versioned_by)} (v\S+)"
        match = re.search(pattern, (self.source / "go.mod").read_text(), re.MULTILINE)
        if match is None:
            raise LocalClusterError(f"{self.source}/go.mod does not require {self.versioned_by}.")
        return match[1]

    @property
    def linker_flags(self) -> str:
        """The linker's flags: no symbol tables, and the version that the program reports."""
        values = {}
        if self.version_variable is not None:
            values[self.version_variable] = self.version
        if self.versioned_by == "k8s.io/kubernetes":
            major, minor, _ = self.version.removeprefix("v").split(".", 2)
            parts = {"Version": self.version, "Major": major, "Minor": minor, "TreeState": "clean"}
            for package in _KUBERNETES_VERSIONS:
                values |= {f"{package}.git{part}": value for part, value in parts.items()}
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])

    @property
    def content_hash(self) -> str:
        """The hash of all inputs of the build: sixteen characters."""
        digest = hashlib.sha256(f"{self.package} {self.linker_flags} {os.uname().machine}".encode())
        for file in sorted(self.source.iterdir()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
        return digest.hexdigest()[:16]


NODE = Program(
    "node",
    (
        "cri-pull",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubectl",
        "kubelet",
    ),
    versioned_by="k8s.io/kubernetes",
    hint="about 8 minutes on 2 cores",
)
COREDNS = Program(
    "coredns",
    ("coredns",),
    versioned_by="github.com/coredns/coredns",
    hint="about 3 minutes on 2 cores",
)
HELM = Program(
    "helm",
    ("helm",),
    package="helm.sh/helm/v4/cmd/helm",
    versioned_by="helm.sh/helm/v4",
    version_variable="helm.sh/helm/v4/internal/version.version",
    hint="about 3 minutes on 2 cores",
)
PAUSE = Program("pause", ("pause",))
ALL = (NODE, COREDNS, HELM, PAUSE)


def built(program: Program, cache: Cache, progress: Progress) -> Path:
    """The folder with the program under each of its names; builds the program if it is missing.

    Raises:
        LocalClusterError: Go is missing, a module cannot be downloaded, or the compiler fails.
    """
    target = folder(program, cache)
    if target.is_dir():
        return target
    cache.programs.mkdir(parents=True, exist_ok=True)
    with (cache.programs / f"{program.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with _go_caches(cache):
                _build(program, target, cache, progress)
    return target


def folder(program: Program, cache: Cache) -> Path:
    """The program's folder, which exists once the program is built."""
    return cache.programs / f"{program.name}-{program.content_hash}"


def tidy(cache: Cache) -> bool:
    """Removes Go's caches; returns False, and removes nothing, while a build runs.

    A build of Kubernetes leaves 4 GB of caches, which no later command needs. The folders of the
    user's own GOCACHE and GOMODCACHE are never removed.
    """
    if not cache.go.exists():
        return True
    with cache.go_lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(cache.go)
    return True


@contextlib.contextmanager
def _go_caches(cache: Cache) -> Iterator[None]:
    """Locks the caches against `tidy`; other builds may use them at the same time."""
    with cache.go_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def go_settings(cache: Cache, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that a build adds to its environment; the user's own values stay."""
    defaults = {
        "GOCACHE": str(cache.go / "build"),
        "GOMODCACHE": str(cache.go / "modules"),
        **_COMPILER_SETTINGS,
    }
    return {"CGO_ENABLED": "0"} | {
        key: value for key, value in defaults.items() if not environ.get(key)
    }


def _build(program: Program, target: Path, cache: Cache, progress: Progress) -> None:
    _require_go()
    progress.say(f"building {program.name} {program.version} ({program.hint}, once)")
    settings = go_settings(cache)
    packages = _download(program, settings, progress)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    binary = partial / program.called[0]
    _compile(program, binary, packages, settings, progress)
    for name in program.called[1:]:
        (partial / name).symlink_to(program.called[0])
    partial.rename(target)
    progress.say(f"built {program.name} ({(target / program.called[0]).stat().st_size >> 20} MB)")


def _require_go() -> None:
    try:
        text = shell.run(["go", "version"])
    except LocalClusterError as error:
        raise LocalClusterError(
            "Go is missing: install Go "
            f"{_MINIMUM_GO[0]}.{_MINIMUM_GO[1]} or newer (https://go.dev/dl) and put it on PATH."
        ) from error
    version = re.search(r"go(\d+)\.(\d+)", text)
    if version is not None and (int(version[1]), int(version[2])) < _MINIMUM_GO:
        raise LocalClusterError(
            f"Go {version[1]}.{version[2]} is too old: install "
            f"{_MINIMUM_GO[0]}.{_MINIMUM_GO[1]} or newer (https://go.dev/dl)."
        )


def _download(program: Program, settings: Mapping[str, str], progress: Progress) -> int:
    """Downloads the build's modules, with retries, and returns the number of packages."""
    for attempt in range(1, _DOWNLOAD_ATTEMPTS + 1):
        try:
            listing = shell.run(
                ["go", "list", "-mod=readonly", "-modcacherw", "-deps", program.package],
                cwd=program.source,
                env=settings,
            )
        except LocalClusterError as error:
            if attempt == _DOWNLOAD_ATTEMPTS:
                raise LocalClusterError(
                    f"The Go modules of {program.name} cannot be downloaded: {error}"
                ) from error
            progress.say(f"the download of Go modules failed, trying again: {error}")
            time.sleep(2.0**attempt)
        else:
            return len(listing.splitlines())
    raise AssertionError("unreachable")


def _compile(
    program: Program,
    binary: Path,
    packages: int,
    settings: Mapping[str, str],
    progress: Progress,
) -> None:
    argv = ["go", "build", "-v", "-mod=readonly", "-modcacherw", "-trimpath", "-buildvcs=false"]
    argv += ["-gcflags", _COMPILER_FLAGS]
    argv += ["-ldflags", program.linker_flags, "-o", str(binary), program.package]
    shell.run_long(
        argv,
        progress,
        f"compiling {program.name}",
        cwd=program.source,
        env=settings,
        note=lambda output: f": {len(output.splitlines())} packages of at most {packages}",
    )
