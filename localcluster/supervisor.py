"""Keeps a cluster's components running: `python3 -m localcluster.supervisor FOLDER`.

Only SIGKILL ends the supervisor, and every process that it started ends with it.
"""

import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from localcluster import components, shell
from localcluster.components import Component

_TICK = 0.05
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_SETTLED = 30.0
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class Charge:
    """A component under supervision; times are seconds of the monotonic clock."""

    component: Component
    pid: int | None = None
    started_at: float = 0.0
    not_before: float = 0.0
    pause: float = _FIRST_PAUSE
    starts: int = 0
    last_exit: int | None = None

    def ended(self, code: int, now: float) -> None:
        """Records an exit, and sets a pause that grows with each short run in a row."""
        if now - self.started_at > _SETTLED:
            self.pause = _FIRST_PAUSE
        self.pid, self.last_exit = None, code
        self.not_before = now + self.pause
        self.pause = min(self.pause * 2, _LONGEST_PAUSE)

    def due(self, now: float) -> bool:
        return self.pid is None and now >= self.not_before and reached(self.component.after)


def reached(address: str | None) -> bool:
    """Whether a server accepts connections at `unix:PATH` or `tcp:HOST:PORT`."""
    if address is None:
        return True
    kind, _, rest = address.partition(":")
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        host, _, port = rest.rpartition(":")
        try:
            probe.connect(rest if kind == "unix" else (host, int(port)))
        except OSError:
            return False
    return True


class Supervisor:
    def __init__(self, charges: list[Component], logs: Path, status: Path) -> None:
        self._charges = [Charge(component) for component in charges]
        self._logs = logs
        self._status = status

    def run_forever(self) -> None:
        self._publish()
        while True:
            changed = self._reap()
            for charge in self._charges:
                if charge.due(time.monotonic()):
                    self._start(charge)
                    changed = True
            if changed:
                self._publish()
            time.sleep(_TICK)

    def _start(self, charge: Charge) -> None:
        name = charge.component.name
        argv = shell.dies_with_parent(charge.component.argv)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        charge.pid = os.posix_spawnp(
            argv[0],
            argv,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._logs / f"{name}.log"), flags, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsigmask=[],
            setsigdef=_IGNORED,
        )
        charge.started_at = time.monotonic()
        charge.starts += 1

    def _reap(self) -> bool:
        """Reaps every ended child; as process 1 of a node also orphans of containers."""
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return changed
            if pid == 0:
                return changed
            for charge in self._charges:
                if charge.pid == pid:
                    charge.ended(os.waitstatus_to_exitcode(status), time.monotonic())
                    print(f"{charge.component.name} ended: {charge.last_exit}", flush=True)
                    changed = True

    def _publish(self) -> None:
        value = {
            charge.component.name: {
                "running": charge.pid is not None,
                "starts": charge.starts,
                "lastExit": charge.last_exit,
            }
            for charge in self._charges
        }
        partial = self._status.with_suffix(".partial")
        partial.write_text(json.dumps(value, indent=2) + "\n")
        partial.rename(self._status)


def supervise(root: Path) -> None:
    """Runs the components of `root`/components.json in `root`/run, with logs in `root`/logs."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    listed = components.from_json((root / "components.json").read_text())
    os.chdir(root / "run")
    Supervisor(listed, root / "logs", root / "supervisor.json").run_forever()


if __name__ == "__main__":
    supervise(Path(sys.argv[1]))
