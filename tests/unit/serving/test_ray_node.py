"""A Ray node's start, with a shell in Ray's place."""

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import os, sys
from pathlib import Path
from diffusion_serving.backends.rayserve.node import Node
folder = Path(sys.argv[1])
command = ["bash", "-c", sys.argv[2], "bash", str(folder / "once"), *sys.argv[3:]]
node = Node(command, folder, os.environ)
try:
    node.wait_started()
finally:
    node.end()
"""
SLOW_ONCE = """
if [ -e "$1" ]; then echo "Ray runtime started"; exec sleep 60; fi
touch "$1"; echo "$2"; exit 1
"""


def started(folder: Path, script: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Starts a node in its own process, since its end is the end of all child processes."""
    command = [sys.executable, "-c", START, str(folder), script, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "words",
    [
        "The current node timed out during startup.",
        "System error: Failed to connect to GCS. Please check if the GCS server is running",
    ],
)
def test_ray_that_was_too_slow_for_its_own_timeout_is_started_again(
    tmp_path: Path, words: str
) -> None:
    assert started(tmp_path, SLOW_ONCE, words).returncode == 0
    assert (tmp_path / "once").exists()


def test_ray_that_cannot_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    ended = started(tmp_path, "echo no such address; exit 3")
    assert ended.returncode == 1
    assert "RayEnded: Ray's processes ended (exit code 3). Its last words: no such address" in (
        ended.stderr
    )
