"""What the workers of one test run share: a folder with locks, results made once, and who is done.

pytest-xdist's workers are processes that the one that pytest started starts; they inherit the
folder's name from it. Without workers the one process is all there is.
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
        # Workers know their run by its name where the process that started them has made no folder.
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or os.getpid()
        self.folder = Path(named or f"{tempfile.gettempdir()}/diffusion-tests-{run}")
        self.folder.mkdir(exist_ok=True)
        os.environ[_FOLDER] = str(self.folder)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """One worker at a time has what is named so; the others wait."""
        with (self.folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON that ``make`` returns; the first worker to ask makes it, the others wait."""
        with self.held(name):
            if (made := self.made(name)) is not None:
                return made
            found = make()
            self._document(name).write_text(json.dumps(found))
            return found

    def made(self, name: str) -> Any:
        """What ``once`` has made under that name, nothing before."""
        document = self._document(name)
        return json.loads(document.read_text()) if document.exists() else None

    def end(self, test: str) -> None:
        """Note that the test is over, whatever came of it."""
        self._mark(test).touch()

    def is_over(self, test: str) -> bool:
        return self._mark(test).exists()

    def _document(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _mark(self, test: str) -> Path:
        return self.folder / (hashlib.sha256(test.encode()).hexdigest()[:16] + ".over")
