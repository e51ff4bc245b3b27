"""The command that fetches models, as a process, and content for it to fetch."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "images/demo_model/weights"


FetchHere = Callable[..., Path]


def fetched(folder: Path) -> dict[str, bytes]:
    """The files of a directory that was fetched, without the file with their versions."""
    return {path: content for path, content in files_of(folder).items() if path[0] != "."}


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of each file, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "README.md"
    }


def weights(megabytes: int = 0, seed: int = 0) -> bytes:
    """A safetensors file of about that size."""
    count = max(4, megabytes * 1024 * 1024 // 4)
    return save({"x": np.random.default_rng(seed).integers(0, 2**31, count, dtype=np.int32)})


@dataclass
class Run:
    """One process of the command."""

    process: subprocess.Popen[bytes]
    output: Path
    message: Path

    def wait(self, seconds: float = 120.0) -> int:
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    @property
    def refusal(self) -> dict[str, str]:
        """The termination message of a run that must have failed."""
        assert self.wait() == 1, self.output.read_text()
        document: dict[str, str] = json.loads(self.message.read_text())
        return document


class Command:
    """Starts runs that share the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[Run] = []
        self.environ: dict[str, str] = {}

    def __call__(self, source: str, to: Path, *flags: str, **environ: str) -> Run:
        number = len(self.runs)
        output, message = self.folder / f"output-{number}", self.folder / f"message-{number}"
        command = [sys.executable, "-m", "diffusion_serving.fetch"]
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [*command, "--source", source, "--to", str(to), *flags],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT / "serving"),
                    "TERMINATION_LOG": str(message),
                    **self.environ,
                    **environ,
                },
            )
        self.runs.append(Run(process, output, message))
        return self.runs[-1]
