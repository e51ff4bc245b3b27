"""Launcher of the engine processes, one for each device: their start and their end."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import TextIO

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.cpu_cores import lower_priority
from diffusion_serving.engine_process.clients import EngineProcessPool
from diffusion_serving.engine_process.messages import WorkerLink
from diffusion_serving.engine_process.startup import EngineSpec, Load
from diffusion_serving.engine_process.worker_pool import EXIT_SECONDS
from diffusion_serving.settings import Settings


class EngineProcesses:
    """The engine processes, one for each device, and the client in front of them.

    Args:
        config: the configuration of all devices together.
        load: loads a device's pipeline; it is pickled.
        output: the stream for the lines of their logs.
        silence: seconds without an answer after which an engine counts as hung.

    """

    def __init__(
        self,
        config: ServingConfig,
        load: Load,
        output: TextIO,
        silence: float = Settings.silence_seconds,
    ) -> None:
        alone = share(config)
        self._specs = [EngineSpec(alone, device, load) for device in range(config.devices)]
        self._pipes = [multiprocessing.Pipe() for _ in self._specs]
        self._processes: list[_Process] = []
        self.client = EngineProcessPool(
            [WorkerLink(ours) for ours, _ in self._pipes],
            output,
            queue_timeout=config.queue.timeout_seconds,
            silence=silence,
        )
        self.ready = self.client.workers.ready
        self.ended = self.client.workers.ended

    def start(self) -> None:
        """Starts the processes, lets them go first on the cores, and listens to their events."""
        for spec, (ours, theirs) in zip(self._specs, self._pipes, strict=True):
            self._processes.append(_Process(theirs))
            theirs.close()
            ours.send(spec)
        lower_priority()
        self.client.workers.listen(self._processes)

    def end(self) -> None:
        """Kills the processes; their running requests are discarded."""
        for process in self._processes:
            process.end()


class _Process:
    """A process with the other end of a link.

    Not multiprocessing's own: that imports the program of its parent, which for a replica is
    all of Ray.
    """

    def __init__(self, connection: Connection) -> None:
        descriptor = connection.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}", str(descriptor)],
            pass_fds=[descriptor],
            # The parent's module path may come from elsewhere than its environment.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    @property
    def exitcode(self) -> int | None:
        return self._process.returncode

    def join(self, timeout: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self.kill()  # a process that still starts receives no commands
        self.join(EXIT_SECONDS)  # no longer: one that waits for a dead driver cannot be killed


def share(config: ServingConfig) -> ServingConfig:
    """Returns the configuration of one device's engine, with its share of the queue."""
    places = -(-config.queue.max_length // config.devices)
    queue = config.queue.model_copy(update={"max_length": places})
    return config.model_copy(update={"devices": 1, "queue": queue})
