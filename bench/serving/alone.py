"""The pipeline alone in its own process, measured on request."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from serving.bare import Bare
from serving.subjects import ROOT, Conditions, environment


@dataclass(frozen=True)
class Alone:
    """A process that runs the pipeline and nothing else."""

    process: subprocess.Popen[str]

    def measure(self, sizes: Sequence[int], seconds: float) -> Bare:
        """The pipeline's figures, measured now for `seconds` per batch size."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the process was started without pipes")
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
    command = [sys.executable, "-m", "serving.bare", *conditions.flags]
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
