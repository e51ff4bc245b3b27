"""Topology `pods`: a Ray node of this process's own, with one replica for each device."""

from diffusion_serving.backends.rayserve.environment import Ports
from diffusion_serving.backends.rayserve.local_node import local_node
from diffusion_serving.backends.rayserve.node import head_part
from diffusion_serving.backends.rayserve.supervisor import exit_on_signals
from diffusion_serving.engine_process.startup import Load
from diffusion_serving.settings import Settings

_WILDCARDS = ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound


def serve_pod(settings: Settings, load: Load) -> int:
    """Serves until a signal comes; returns 0.

    Raises:
        StartupError: the model could not be loaded, its device was lost, or Ray ended.

    """
    ports, devices = Ports.free(), settings.config.devices
    address = "127.0.0.1" if settings.host in _WILDCARDS else settings.host
    with local_node(settings, ports, address, head_part(ports), devices=devices) as local:
        # Here and not above: Ray reads the environment when it is imported.
        from diffusion_serving.backends.rayserve import deployment  # noqa: PLC0415

        deployment.connect(f"{address}:{ports.gcs}")
        exit_on_signals()  # Ray has replaced the handlers
        deployment.start_serve(settings)
        deployment.deploy(settings, load, replicas=devices)
        local.supervisor.take_signals()
        local.supervisor.run()
        local.supervisor.drain(local.replicas, settings)
    return 0
