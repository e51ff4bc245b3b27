"""What a program that builds images must do, and Docker doing it."""

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
    """What every build step is given."""

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

    def base(self, asked: str | None) -> str:
        """The base image's reference; makes the image where that is cheap to name and missing."""

    def has(self, name: str, tag: str) -> bool: ...

    def prepare(self, base: str) -> None:
        """Do once what every build needs."""

    def build_stage(self, stage: str, base: str) -> None:
        """Build what several images are made on, so that no two make it side by side."""

    def build(self, image: Image, tag: str, base: str) -> None: ...

    def push(self, name: str, tag: str, registry: str, *, plain_http: bool) -> None: ...

    def prune(self, tags: Mapping[str, str]) -> None:
        """Keep the last KEPT_TAGS tags of each name in `tags`, the one it maps to among them."""


def output(*command: str) -> str:
    """What `command` prints. Raises BuildError with what it complains about."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
    return result.stdout


def ca_secret() -> list[str]:
    """The build option that lends this machine's CA bundle to the steps that download."""
    for bundle in (os.environ.get("SSL_CERT_FILE", ""), *_CA_BUNDLES):
        if bundle and Path(bundle).is_file():
            return ["--secret", f"id=ca,src={bundle}"]
    return []


def superfluous(newest_first: Iterable[str], current: str) -> list[str]:
    """The tags to remove: all but the newest KEPT_TAGS, `current` counting as the newest."""
    others = [tag for tag in dict.fromkeys(newest_first) if tag != current]
    return others[KEPT_TAGS - 1 :]


class Docker:
    """Docker Engine with BuildKit; its own garbage collector looks after the layer cache."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @staticmethod
    def answers() -> bool:
        if shutil.which("docker") is None:
            return False
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0

    def base(self, asked: str | None) -> str:
        return asked or DEFAULT_BASE

    def has(self, name: str, tag: str) -> bool:
        command = ["docker", "image", "inspect", f"{name}:{tag}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def prepare(self, base: str) -> None:
        """BuildKit itself does a step once that several builds want at the same time."""

    def build_stage(self, stage: str, base: str) -> None:
        """As above."""

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
                # A container may still use it; then it goes another time.
                subprocess.run(["docker", "rmi", f"{name}:{tag}"], capture_output=True, check=False)
