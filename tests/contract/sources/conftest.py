"""The real command, `python -m diffusion_serving.fetch`, with a hub and models to fetch."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from diffusion_serving.fetch import cli
from diffusion_serving.fetch.cli import fetch
from diffusion_serving.fetch.listing import listed
from fetch_command import DEMO, Command, FetchHere, files_of, weights
from local_hub import LocalHub, Repo


@pytest.fixture(scope="session")
def demo() -> dict[str, bytes]:
    """The files of the complete, real demo model."""
    return files_of(DEMO)


@pytest.fixture(scope="session")
def large(demo: dict[str, bytes]) -> dict[str, bytes]:
    """The files of the demo model, with a U-Net of 48 MiB of random weights."""
    return {**demo, "unet/diffusion_pytorch_model.safetensors": weights(48)}


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    folder = tmp_path / "runs"
    folder.mkdir()
    command = Command(folder)
    yield command
    for run in command.runs:
        if run.process.poll() is None:
            run.kill()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def hub(command: Command, demo: dict[str, bytes]) -> Iterator[LocalHub]:
    """A hub with the demo model; the command's environment points at it."""
    with LocalHub({"acme/shapes": Repo({"main": demo})}) as hub:
        command.environ["HF_ENDPOINT"] = hub.endpoint
        yield hub


@pytest.fixture
def fetch_here(command: Command, store: Path) -> FetchHere:
    """Fetches into a directory of the store in this process, which is quicker than the command."""

    def fetch_here(source: str, revision: str | None = None) -> Path:
        fetch(source, revision, store / "key", command.environ)
        return store / "key"

    return fetch_here


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the pauses out of a listing in this process; `test_listing.py` shows their lengths."""
    monkeypatch.setattr(cli, "listed", partial(listed, pause=lambda _: None))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        shutil.rmtree(folder)
        pytest.skip("this machine does not allow mounting a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
