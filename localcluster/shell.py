"""Running other programs."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcluster.errors import LocalClusterError


def dies_with_parent(argv: Sequence[str]) -> list[str]:
    """`argv`, killed by the kernel when the process that starts it dies, however it dies."""
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
    """Run to the end and return stdout.

    `env` is added to this process's environment. Raises LocalClusterError, with the last lines of
    stderr, when the program is missing or fails.
    """
    try:
        done = subprocess.run(
            dies_with_parent(argv),
            cwd=cwd,
            env={**os.environ, **(env or {})},
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


def succeeds(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> bool:
    """Whether the program is there and exits with 0."""
    try:
        run(argv, env=env)
    except LocalClusterError:
        return False
    return True


def last_lines(text: str, count: int = 5) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


def environment(added: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **added}
