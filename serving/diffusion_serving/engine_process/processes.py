"""Engines in processes of their own, one a device: started, asked and ended."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import TextIO

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine.cores import make_way
from diffusion_serving.engine_process.clients import ProcessMaker
from diffusion_serving.engine_process.link import Link
from diffusion_serving.engine_process.process import Work
from diffusion_serving.engine_process.startup import Load


class EngineProcesses:
    """One engine process for each device, and the maker in front of them.

    Args:
        config: of all devices together.
        load: makes a device's pipeline; it is pickled.
        output: takes the lines of their logs.

    """

    def __init__(self, config: ServingConfig, load: Load, output: TextIO) -> None:
        alone = share(config)
        self._work = [Work(alone, device, load) for device in range(config.devices)]
        self._pipes = [multiprocessing.Pipe() for _ in self._work]
        self._processes: list[_Process] = []
        self.maker = ProcessMaker([Link(ours) for ours, _ in self._pipes], output)
        self.ready = self.maker.fleet.ready
        self.ended = self.maker.fleet.ended

    def start(self) -> None:
        """Starts them, makes way for them, and begins to hear them on the running event loop."""
        for work, (ours, theirs) in zip(self._work, self._pipes, strict=True):
            self._processes.append(_Process(theirs))
            theirs.close()
            ours.send(work)
        make_way()
        self.maker.fleet.listen(self._processes)

    def end(self) -> None:
        """Ends them, whatever they are doing."""
        for process in self._processes:
            process.end()


class _Process:
    """A process with the other end of a link.

    Not multiprocessing's: that imports anew what the present one was started with, which for a
    replica is all of Ray.
    """

    def __init__(self, connection: Connection) -> None:
        descriptor = connection.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.process", str(descriptor)],
            pass_fds=[descriptor],
            # Whoever started this process may have told it by other ways where modules are.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    @property
    def exitcode(self) -> int | None:
        return self._process.returncode

    def join(self, timeout: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def end(self) -> None:
        self._process.kill()  # it may not hear its link yet
        self._process.wait()


def share(config: ServingConfig) -> ServingConfig:
    """The configuration of one device's engine: its share of the queue."""
    places = -(-config.queue.max_length // config.devices)
    queue = config.queue.model_copy(update={"max_length": places})
    return config.model_copy(update={"devices": 1, "queue": queue})
