"""The Ray node of this process, from its first process to its last."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusion_serving.backends.rayserve.environment import Ports, for_ray
from diffusion_serving.backends.rayserve.node import ENGINES, HEAD, Node, command
from diffusion_serving.backends.rayserve.replica_link import Replicas
from diffusion_serving.backends.rayserve.supervisor import RayOutput, Supervisor, exit_on_signals
from diffusion_serving.engine.cpu_cores import available_cores
from diffusion_serving.http.server.listener import listen
from diffusion_serving.settings import Settings

log = logging.getLogger("diffusion_serving")

_TEMPORARY = Path("/tmp")  # noqa: S108 - the sockets in it must have names below 98 characters


@dataclass(frozen=True)
class LocalNode:
    """The Ray node of this process, and its replicas."""

    node: Node
    supervisor: Supervisor
    replicas: Replicas


@contextlib.contextmanager
def local_node(
    settings: Settings,
    ports: Ports,
    address: str,
    part: Sequence[str],
    *,
    devices: int,
) -> Generator[LocalNode]:
    """Starts a Ray node for so many devices (none: a head alone), and ends all of its processes.

    `address` is where other nodes reach it, `part` the arguments of `ray start` that make it a
    head or a worker.

    Raises:
        SystemExit: with 1 if the served port is taken; with 0 if a signal came, which may be at any
            time until the supervisor handles them.
        RayEnded: the node did not start.

    """
    check_free(settings.host, settings.port)
    exit_on_signals()
    config, cores = settings.config, available_cores()
    with tempfile.TemporaryDirectory(prefix="ray-", dir=_TEMPORARY) as name:
        directory = Path(name)
        each = max(1, cores // max(1, devices))
        os.environ.update(for_ray(directory, ports, each, os.environ))
        start = command(
            directory,
            address,
            ports,
            cores=cores,
            gpus=devices if config.device == "cuda" else 0,
            resources={ENGINES: devices} if devices else {HEAD: 1},
        )
        node = Node([*start, *part], directory, os.environ)
        supervisor = Supervisor(node)
        replicas = Replicas(directory / "link", supervisor.on_event)
        try:
            node.wait_started()
            output = RayOutput()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                yield LocalNode(node, supervisor, replicas)
        finally:
            node.end()


def check_free(host: str, port: int) -> None:
    """Exits with 1, before seconds are spent on Ray, if the port is taken."""
    listen(host, port).close()
