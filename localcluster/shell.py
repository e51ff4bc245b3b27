"""Calls of other programs."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from localcluster.console import Progress
from localcluster.errors import LocalClusterError


def dies_with_parent(argv: Sequence[str]) -> list[str]:
    """A command line that runs `argv` and that the kernel kills when the parent process dies."""
    if shutil.which("setpriv") is None:
        return list(argv)
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Runs a program to its end and returns its stdout.

    `env` is added to this process's environment.

    Raises:
        LocalClusterError: The program is missing or fails; the message has stderr's last lines.
    """
    try:
        done = subprocess.run(
            dies_with_parent(argv),
            cwd=cwd,
            env=environment(env or {}),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise LocalClusterError(f"{argv[0]} is not installed or not on PATH.") from error
    if done.returncode != 0:
        raise LocalClusterError(
            f"`{' '.join(argv[:4])}` failed with code {done.returncode}: {last_lines(done.stderr)}"
        )
    return done.stdout


def run_long(
    argv: Sequence[str],
    progress: Progress,
    task: str,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    note: Callable[[str], str] = lambda _: "",
) -> None:
    """Runs a program to its end, and shows `task` at the start and every 15 s.

    `note` turns the program's output so far into an addition to that line. Raises LocalClusterError
    as `run` does.
    """
    progress.say(task)
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(
            dies_with_parent(argv),
            cwd=cwd,
            env=environment(env or {}),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process:
            while (code := _exit_code(process, 15.0)) is None:
                progress.say(f"still {task}{note(_written(output))}")
        if code != 0:
            raise LocalClusterError(
                f"`{' '.join(argv[:4])}` failed with code {code}: {last_lines(_written(output))}"
            )


def _written(file: IO[bytes]) -> str:
    """The file's text, read without moving the position at which the program writes."""
    descriptor = file.fileno()
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


def _exit_code(process: "subprocess.Popen[bytes]", timeout: float) -> int | None:
    """The exit code; None if the process still runs after `timeout` seconds."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None


def succeeds(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> bool:
    """Whether the program exists and exits with 0."""
    try:
        run(argv, env=env)
    except LocalClusterError:
        return False
    return True


def last_lines(text: str, count: int = 5) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


def environment(added: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **added}
