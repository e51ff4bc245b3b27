"""Commands that run in parallel, each line of their progress with its subject."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_SUBJECT_WIDTH = 8
_GRACE_SECONDS = 5.0


class InstallError(Exception):
    """A step failed; the message names the step, whose own output says how to fix it."""


def say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


class Commands:
    """Runs commands in ``folder``; an exception in the ``with`` block ends the running ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is not None:
            self.end()

    def output(self, subject: str, command: Sequence[str], what: str) -> str:
        """Runs ``command``, shows its stderr line by line with ``subject``, and returns its stdout.

        Raises:
            InstallError: The command failed; the message calls it ``what``.
        """
        process = self._start(command, what)
        try:
            shown = threading.Thread(target=_show, args=(subject, process), daemon=True)
            shown.start()
            printed = process.stdout.read() if process.stdout else ""
            code = process.wait()
            shown.join()
        finally:
            with self._lock:
                self._running.discard(process)
        if code != 0:
            raise InstallError(f"{what} failed (exit code {code})")
        return printed

    def end(self) -> None:
        """Ends the running commands and their children; no further command starts."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGINT)
        deadline = time.monotonic() + _GRACE_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                # buildah ignores the signal while it writes a layer; the next build cleans up.
                _signal(process, signal.SIGKILL)

    def _start(self, command: Sequence[str], what: str) -> "subprocess.Popen[str]":
        with self._lock:
            if self._ended:
                raise InstallError(f"{what} was not started")
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                process_group=0,  # so that a signal reaches its children, too
            )
            self._running.add(process)
            return process


def _signal(process: "subprocess.Popen[str]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turns SIGTERM into SystemExit, so that commands end, which have their own process groups."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(subject: str, process: "subprocess.Popen[str]") -> None:
    for line in process.stderr or ():
        print(f"{subject:{_SUBJECT_WIDTH}}{line.rstrip()}", file=sys.stderr, flush=True)
