"""The pipeline in a process of its own, with nothing around it, measured whenever it is asked."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from serving.bare import Bare
from serving.subjects import MODEL, ROOT, Conditions, environment


@dataclass(frozen=True)
class Alone:
    """Such a process."""

    process: subprocess.Popen[str]

    def measure(self, sizes: Sequence[int], seconds: float) -> Bare:
        """Its figures, measured now for so many seconds a batch size."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("it was started without pipes")
        question = json.dumps({"sizes": list(sizes), "seconds": seconds})
        print(question, file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        return Bare(
            **{
                name: {int(size): value for size, value in values.items()}
                for name, values in answer.items()
            }
        )


@contextmanager
def alone(conditions: Conditions) -> Iterator[Alone]:
    what = ["--model", str(MODEL)]
    if conditions.stand_in is not None:
        what = ["--stand-in", str(conditions.stand_in)]
    command = [sys.executable, "-m", "serving.bare", *what]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Alone(process)
    finally:
        process.kill()
        process.communicate()
