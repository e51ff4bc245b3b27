"""A Ray node of this process's own, with one replica for each device."""

import os
import signal
import sys
import tempfile
from pathlib import Path

from diffusion_serving.backends.rayserve.environment import Ports, for_ray
from diffusion_serving.backends.rayserve.link import Replicas
from diffusion_serving.backends.rayserve.node import Node, command, head
from diffusion_serving.backends.rayserve.supervisor import Supervisor
from diffusion_serving.config import Settings
from diffusion_serving.cores import available_cores
from diffusion_serving.startup import Load

TEMPORARY = Path("/tmp")  # noqa: S108 - the names of the sockets in it must stay below 98 characters
_WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - they are recognised, not bound


def serve_pod(settings: Settings, load: Load) -> int:
    """Serves until a signal comes; returns 0.

    Raises:
        StartupError: the model could not be loaded, its device was lost, or Ray ended.

    """
    config, ports, cores = settings.config, Ports.free(), available_cores()
    address = "127.0.0.1" if settings.host in _WILDCARDS else settings.host
    # Until the supervisor takes signals, one unwinds what is started here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="ray-", dir=TEMPORARY) as name:
        directory = Path(name)
        os.environ.update(for_ray(directory, ports, max(1, cores // config.devices), os.environ))
        parts = command(
            directory,
            address,
            ports,
            cores=cores,
            gpus=config.devices if config.device == "cuda" else 0,
            engines=config.devices,
        )
        node = Node([*parts, *head(ports)], directory, os.environ)
        supervisor = Supervisor(node)
        replicas = Replicas(directory / "link", supervisor.hear)
        try:
            # Here and not above: what these import reads the environment.
            from diffusion_serving.backends.rayserve import deployment  # noqa: PLC0415

            node.wait_started()
            deployment.connect(f"{address}:{ports.gcs}")
            deployment.start_serve(settings)
            deployment.deploy(settings, load, config.devices)
            supervisor.take_signals()
            supervisor.run()
            supervisor.drain(replicas, settings.drain_seconds)
        except SystemExit:  # a signal before anything was served; Ray's own handler has a code
            pass
        finally:
            node.end()
    return 0
