"""Builds with Debian's buildah; the base comes from mmdebstrap if no image registry answers."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from image_build.engines import Context, ca_secret, output, superfluous
from image_build.inputs import DEFAULT_BASE, DOCKERFILE, Image
from image_build.progress import BuildError

_SUITE = "bookworm"
_PACKAGES = ("python3", "python3-venv", "ca-certificates", "libstdc++6", "netbase", "tzdata")
"""The packages of the public Python image that are needed; python3-venv has pip, which gets uv."""
_MMDEBSTRAP = (
    "mmdebstrap",
    "--variant=essential",
    f"--include={','.join(_PACKAGES)}",
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    # mmdebstrap copies the machine's own host name and resolver, which only its earlier steps need.
    '--customize-hook=cd "$1" && rm -rf etc/dpkg/dpkg.cfg.d var/log/* etc/resolv.conf etc/hostname',
)
_RECIPE = hashlib.sha256(repr((_MMDEBSTRAP, _SUITE)).encode()).hexdigest()[:16]
_LOCAL_BASE = f"localhost/diffusion-base:{_RECIPE}"
_LABEL = "org.opencontainers.image.vendor=diffusion-operator"
"""The label of the Dockerfile's first layers and of the local base.

Images without the label are never removed.
"""
_TOOLS = "localhost/diffusion-build-tools:latest"
"""The stage that every image copies from; its name keeps it from being pruned."""
_PROBE_SECONDS = 5.0


def known_bases() -> tuple[str, str]:
    """The bases of images, the preferred one first; the option --base selects another."""
    return DEFAULT_BASE, _LOCAL_BASE


def _docker_hub_answers() -> bool:
    try:
        urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=_PROBE_SECONDS)
    except urllib.error.HTTPError as answer:
        return answer.code == 401  # noqa: PLR2004 - a registry that is up asks for a login
    except (urllib.error.URLError, TimeoutError):
        return False
    return True


class Buildah:
    """buildah as root in its usual storage; chroot isolation needs no OCI runtime and no cgroup."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.scratch = context.cache / "tmp"
        """Temporary copies of layers; emptied at each start, since a killed build leaves some."""
        self.running = context.cache / "running"
        """A file that exists while a build runs, or after one was killed."""
        self.env = {
            "BUILDAH_ISOLATION": "chroot",
            "STORAGE_DRIVER": "overlay",  # the fallback, vfs, would copy 6 GB for every step
            "TMPDIR": str(self.scratch),
        }
        if os.geteuid() != 0:
            raise BuildError(
                "building with buildah needs root (with Docker it does not): run it with sudo"
            )
        self._install("buildah", "buildah")

    def _install(self, program: str, *packages: str) -> None:
        if shutil.which(program):
            return
        if not shutil.which("apt-get"):
            raise BuildError(
                f"neither Docker nor {program} is installed, nor apt-get to install {program}: "
                "install one of them"
            )
        self.context.progress.say("set-up", f"apt-get install {' '.join(packages)}")
        install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
        with self._apt_alone():
            try:
                self.context.run("set-up", install, DEBIAN_FRONTEND="noninteractive")
            except BuildError:
                self.context.run("set-up", ["apt-get", "update"])
                self.context.run("set-up", install, DEBIAN_FRONTEND="noninteractive")

    @contextlib.contextmanager
    def _apt_alone(self) -> Iterator[None]:
        """Locks apt-get, which the local cluster may use at the same time."""
        with (self.context.cache.parent / "apt.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _run(self, subject: str, *command: str) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.context.run(subject, command, **self.env)

    def has(self, name: str, tag: str) -> bool:
        return self._exists(f"localhost/{name}:{tag}")

    def _exists(self, reference: str) -> bool:
        return bool(
            output("buildah", "images", "--quiet", "--filter", f"reference={reference}").strip()
        )

    def base(self, requested: str | None) -> str:
        """The base; an existing one is preferred, so that tags don't depend on the network."""
        if requested:
            return requested
        for reference in known_bases():
            if self._exists(reference):
                return reference
        return DEFAULT_BASE if _docker_hub_answers() else _LOCAL_BASE

    def prepare(self, base: str) -> None:
        self._clean_up_after_a_killed_build()
        self.running.touch()
        if base == _LOCAL_BASE and not self._exists(base):
            self._make_base()
        # Two builds side by side would make two images of one stage, alike in their history. A
        # later build takes either for its parent, and finds the layers above only one of them.
        self._build("tools", base, f"--tag={_TOOLS}")
        self._build("runtime", base)

    def build_stage(self, stage: str, base: str) -> None:
        # The stage has no name: images built on it keep its layers, which go with the last image.
        self._build(stage, base)

    def _make_base(self) -> None:
        self.context.progress.say(
            "base", f"no image registry answers: building Debian {_SUITE} with mmdebstrap"
        )
        self._install("mmdebstrap", "mmdebstrap", "debian-archive-keyring")
        archive = self.scratch / "base.tar"
        self._run("base", *_MMDEBSTRAP, _SUITE, str(archive))
        container = output("buildah", "from", "scratch").strip()
        self._run("base", "buildah", "add", "--quiet", container, str(archive), "/")
        archive.unlink()
        self._run("base", "buildah", "config", "--label", _LABEL, container)
        self._run("base", "buildah", "commit", "--quiet", "--rm", container, _LOCAL_BASE)

    def build(self, image: Image, tag: str, base: str) -> None:
        self._build(
            image.target,
            base,
            f"--tag=localhost/{image.name}:{tag}",
            dockerfile=image.dockerfile,
        )

    def _build(self, target: str, base: str, *options: str, dockerfile: str = DOCKERFILE) -> None:
        uv_cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache/uv")
        uv_cache.mkdir(parents=True, exist_ok=True)
        self._run(
            target,
            "buildah",
            "build",
            "--layers",
            f"--file={self.context.root / dockerfile}",
            f"--target={target}",
            f"--build-arg=BASE={base}",
            # Packages that uv has downloaded for a development environment aren't downloaded again.
            f"--volume={uv_cache}:/var/cache/host-uv",
            *ca_secret(),
            *options,
            str(self.context.root),
        )

    def push(self, name: str, tag: str, registry: str, *, plain_http: bool) -> None:
        self._run(
            f"push {name}",
            "buildah",
            "push",
            f"--tls-verify={str(not plain_http).lower()}",
            # For a local registry, the time until a pod runs counts, and containerd reads zstd. A
            # remote registry may serve clients that only read gzip.
            *(("--compression-format=zstd", "--compression-level=1") if plain_http else ()),
            f"localhost/{name}:{tag}",
            f"docker://{registry}/{name}:{tag}",
        )

    def prune(self, tags: Mapping[str, str]) -> None:
        images = json.loads(output("buildah", "images", "--json"))
        images.sort(key=lambda image: image["created"], reverse=True)
        references = [reference for image in images for reference in image["names"] or ()]
        for name, current in tags.items():
            prefix = f"localhost/{name}:"
            own = [
                reference.removeprefix(prefix)
                for reference in references
                if reference.startswith(prefix)
            ]
            for tag in superfluous(own, current):
                self._try("rmi", prefix + tag)
        # Images that no tag refers to any more; buildah removes a parent with its last child.
        for image in self._ours("--filter=dangling=true"):
            self._try("rmi", image)
        self.running.unlink(missing_ok=True)

    @staticmethod
    def _try(*arguments: str) -> None:
        """Runs a removal that may fail: an object in use is removed another time."""
        subprocess.run(["buildah", *arguments], capture_output=True, check=False)

    def _ours(self, *filters: str) -> list[str]:
        return output(
            "buildah",
            "images",
            "--all",
            "--quiet",
            "--no-trunc",
            f"--filter=label={_LABEL}",
            *filters,
        ).split()

    def _clean_up_after_a_killed_build(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self.running.exists():
            ours = {image.removeprefix("sha256:") for image in self._ours()}
            for container in json.loads(output("buildah", "containers", "--json")) or ():
                if container["imageid"] in ours:
                    self._try("rm", container["id"])
