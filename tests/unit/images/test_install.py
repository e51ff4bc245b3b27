"""Installation of a slice of the lock in an image, with a fake uv that records its arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from image_build.install import Places, install


@dataclass
class Uv:
    """A fake uv: fails offline unless the machine's cache holds everything; else downloads."""

    holds_all: bool = False
    reaches_network: bool = True
    commands: list[list[str]] = field(default_factory=list)
    envs: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, command: Sequence[str], *, env: Mapping[str, str], quietly: bool) -> int:
        self.commands.append(list(command))
        self.envs.append(dict(env))
        if "--offline" in command:
            assert quietly, "an incomplete cache is no error to show"
            return 0 if self.holds_all else 1
        assert not quietly
        cache = Path(command[command.index("--cache-dir") + 1])
        cache.mkdir()
        (cache / "wheel").touch()
        return 0 if self.reaches_network else 2


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for folder in ("venv", "host"):
        (tmp_path / folder).mkdir()
    return Places(tmp_path / "venv", tmp_path / "host", tmp_path / "ca.crt")


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_packages_in_the_machines_cache_are_copied_and_not_downloaded(places: Places) -> None:
    uv = Uv(holds_all=True)
    assert install("torch", places, uv) == 0
    (command,) = uv.commands
    assert option(command, "--cache-dir") == str(places.host_cache)
    assert option(command, "--link-mode") == "copy"


def test_packages_that_the_cache_lacks_are_downloaded_into_the_layer_and_linked_there(
    places: Places,
) -> None:
    uv = Uv()
    assert install("torch", places, uv) == 0
    _, command = uv.commands
    assert Path(option(command, "--cache-dir")).is_relative_to(places.venv)
    assert option(command, "--link-mode") == "hardlink"
    assert list(places.venv.iterdir()) == [], "no download stays in the layer"
    assert list(places.host_cache.iterdir()) == [], "nor in the machine's cache"


def test_without_a_mounted_cache_packages_are_downloaded_at_once(
    tmp_path: Path, places: Places
) -> None:
    uv = Uv()
    assert install("torch", Places(places.venv, tmp_path / "absent", places.ca), uv) == 0
    assert len(uv.commands) == 1


def test_a_failed_download_fails_the_build_and_leaves_nothing(places: Places) -> None:
    assert install("torch", places, Uv(reaches_network=False)) == 2
    assert list(places.venv.iterdir()) == []


def test_the_installed_packages_are_the_layers_slice_checked_against_hashes(places: Places) -> None:
    uv = Uv()
    install("cuda", places, uv)
    for command in uv.commands:
        assert {"--require-hashes", "--no-deps", "--compile-bytecode"} <= set(command)
        assert option(command, "-r") == str(places.venv / "locks" / "cuda.txt")


def test_the_build_machines_certificates_are_used_if_they_are_mounted(places: Places) -> None:
    uv = Uv()
    install("cuda", places, uv)
    assert uv.envs == [{}, {}]
    places.ca.touch()
    uv = Uv()
    install("cuda", places, uv)
    assert uv.envs == [{"SSL_CERT_FILE": str(places.ca)}] * 2
