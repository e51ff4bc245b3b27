"""State that the workers of one test run share: a folder with locks, results and ended tests.

pytest-xdist's workers are child processes of pytest's own, and inherit the folder's name from it.
Without workers there is only pytest's process.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FOLDER = "DIFFUSION_TESTS_RUN"


class SharedRun:
    """The folder of this run, the same in each worker."""

    def __init__(self) -> None:
        named = os.environ.get(_FOLDER)
        # Where the parent process has made no folder, workers share the id of their run.
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or os.getpid()
        self.folder = Path(named or f"{tempfile.gettempdir()}/diffusion-tests-{run}")
        self.folder.mkdir(exist_ok=True)
        os.environ[_FOLDER] = str(self.folder)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Holds the lock of that name; other workers wait."""
        with (self.folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON that ``make`` returns; the first worker makes it, the others wait for it."""
        with self.held(name):
            if (made := self.made(name)) is not None:
                return made
            document = make()
            self._document(name).write_text(json.dumps(document))
            return document

    def made(self, name: str) -> Any:
        """The result of ``once`` under that name; None before it exists."""
        document = self._document(name)
        return json.loads(document.read_text()) if document.exists() else None

    def end(self, test: str) -> None:
        """Notes that the test has ended, passed or failed."""
        self._mark(test).touch()

    def is_over(self, test: str) -> bool:
        return self._mark(test).exists()

    def _document(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _mark(self, test: str) -> Path:
        return self.folder / (hashlib.sha256(test.encode()).hexdigest()[:16] + ".over")
