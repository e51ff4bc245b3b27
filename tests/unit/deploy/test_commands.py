"""Commands that run in parallel."""

import signal
import sys
import threading
from pathlib import Path

import pytest

from commands import Commands, InstallError, ended_by_sigterm

SH = ("sh", "-c")


def test_progress_is_shown_line_by_line_under_its_subject(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Commands(tmp_path) as commands:
        printed = commands.output("images", [*SH, "echo one >&2; echo two >&2; echo name"], "a")
    assert printed == "name\n"
    assert capsys.readouterr().err == "images  one\nimages  two\n"


def test_the_error_of_a_failed_command_names_its_task(tmp_path: Path) -> None:
    with (
        Commands(tmp_path) as commands,
        pytest.raises(InstallError, match=r"building failed \(exit code 3\)"),
    ):
        commands.output("images", [*SH, "exit 3"], "building")


def test_ending_reaches_running_commands_with_their_children_and_starts_no_more(
    tmp_path: Path,
) -> None:
    """The pipe closes only when the child has ended, too."""
    commands = Commands(tmp_path)
    child = "import time; print('running', file=sys.stderr, flush=True); time.sleep(600)"
    parent = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; {child}'])"
    )
    failures: list[Exception] = []
    shown = threading.Event()

    def run() -> None:
        try:
            commands.output("long", [sys.executable, "-c", parent.replace("'running'", '"r"')], "x")
        except InstallError as error:
            failures.append(error)

    original, sys.stderr = sys.stderr, _Signal(shown)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        assert shown.wait(30)
        commands.end()
        thread.join(30)
    finally:
        sys.stderr = original
    assert not thread.is_alive()
    assert len(failures) == 1
    with pytest.raises(InstallError, match="another was not started"):
        commands.output("late", ["true"], "another")


class _Signal:
    """A stream that sets an event when text is written to it."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def write(self, _: str) -> int:
        self._event.set()
        return 0

    def flush(self) -> None: ...


def test_an_exception_in_the_block_ends_running_commands(tmp_path: Path) -> None:
    failures: list[str] = []

    def run(commands: Commands) -> None:
        try:
            commands.output("long", ["sleep", "600"], "sleeping")
        except InstallError as error:
            failures.append(str(error))

    def leave(commands: Commands) -> None:
        with commands:
            thread.start()
            raise KeyboardInterrupt

    commands = Commands(tmp_path)
    thread = threading.Thread(target=run, args=(commands,))
    with pytest.raises(KeyboardInterrupt):
        leave(commands)
    thread.join(30)
    assert not thread.is_alive()
    assert len(failures) == 1


def test_a_command_that_ignores_the_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("commands._GRACE_SECONDS", 0.1)
    begun = tmp_path / "begun"
    stubborn = f"trap '' INT TERM; touch {begun}; while :; do sleep 1; done"
    failures: list[str] = []

    def run() -> None:
        try:
            commands.output("long", [*SH, stubborn], "writing a layer")
        except InstallError as error:
            failures.append(str(error))

    commands = Commands(tmp_path)
    thread = threading.Thread(target=run)
    thread.start()
    while not begun.exists():
        threading.Event().wait(0.01)
    commands.end()
    thread.join(30)
    assert not thread.is_alive()
    assert failures == ["writing a layer failed (exit code -9)"]
    assert capsys.readouterr().err == ""


def test_sigterm_unwinds_as_ctrl_c_does() -> None:
    with pytest.raises(SystemExit, match="143"), ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
