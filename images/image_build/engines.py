"""The interface of an image builder, and its implementation with Docker."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from image_build.inputs import DEFAULT_BASE, Image
from image_build.progress import BuildError, Progress

KEPT_TAGS = 2
_CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


@dataclass(frozen=True)
class Context:
    """The arguments that all build steps share."""

    root: Path
    cache: Path
    progress: Progress
    lock: int
    """File descriptor of the build lock; children inherit it, so that an orphan still holds it."""

    def run(self, subject: str, command: Sequence[str], **env: str) -> None:
        self.progress.run(
            subject,
            command,
            log=self.cache / "logs" / f"{subject}.log",
            env={**os.environ, **env},
            keep_open=(self.lock,),
        )


class Engine(Protocol):
    """Builds, lists, pushes and removes images by their name and tag."""

    def base(self, requested: str | None) -> str:
        """The base image's reference: the requested one, or the engine's choice."""

    def has(self, name: str, tag: str) -> bool: ...

    def prepare(self, base: str) -> None:
        """Runs the steps that every build needs, once."""

    def build_stage(self, stage: str, base: str) -> None:
        """Builds a stage that several images share, so that no two builds build it in parallel."""

    def build(self, image: Image, tag: str, base: str) -> None: ...

    def push(self, name: str, tag: str, registry: str, *, plain_http: bool) -> None: ...

    def prune(self, tags: Mapping[str, str]) -> None:
        """Keeps KEPT_TAGS tags of each name in `tags`, the current one included, and no older."""


def output(*command: str) -> str:
    """The stdout of `command`; raises BuildError with its stderr."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
    return result.stdout


def ca_secret() -> list[str]:
    """The build option that mounts this machine's CA bundle in the steps that download."""
    for bundle in (os.environ.get("SSL_CERT_FILE", ""), *_CA_BUNDLES):
        if bundle and Path(bundle).is_file():
            return ["--secret", f"id=ca,src={bundle}"]
    return []


def superfluous(newest_first: Iterable[str], current: str) -> list[str]:
    """The tags to remove: all but the newest KEPT_TAGS, of which `current` counts as the newest."""
    others = [tag for tag in dict.fromkeys(newest_first) if tag != current]
    return others[KEPT_TAGS - 1 :]


class Docker:
    """Docker Engine with BuildKit, whose own garbage collector prunes the layer cache."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @staticmethod
    def answers() -> bool:
        if shutil.which("docker") is None:
            return False
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0

    def base(self, requested: str | None) -> str:
        return requested or DEFAULT_BASE

    def has(self, name: str, tag: str) -> bool:
        command = ["docker", "image", "inspect", f"{name}:{tag}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def prepare(self, base: str) -> None:
        """Does nothing: BuildKit itself runs a step only once if several builds need it."""

    def build_stage(self, stage: str, base: str) -> None:
        """Does nothing, for the same reason."""

    def build(self, image: Image, tag: str, base: str) -> None:
        root = self.context.root
        command = [
            "docker",
            "build",
            "--progress=plain",
            f"--file={root / image.dockerfile}",
            f"--target={image.target}",
        ]
        command += [
            f"--build-arg=BASE={base}",
            *ca_secret(),
            f"--tag={image.name}:{tag}",
            str(root),
        ]
        self.context.run(image.target, command, DOCKER_BUILDKIT="1")

    def push(self, name: str, tag: str, registry: str, *, plain_http: bool) -> None:  # noqa: ARG002 - the daemon decides
        there = f"{registry}/{name}:{tag}"
        output("docker", "tag", f"{name}:{tag}", there)
        self.context.run(f"push {name}", ["docker", "push", there])
        output("docker", "rmi", there)

    def prune(self, tags: Mapping[str, str]) -> None:
        for name, current in tags.items():
            listed = output("docker", "image", "ls", "--format={{.Tag}}", name).split()
            for tag in superfluous(listed, current):
                # A tag that a container still uses stays, and is removed by a later build.
                subprocess.run(["docker", "rmi", f"{name}:{tag}"], capture_output=True, check=False)
