"""What the head tells Ray Serve."""

from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import LoggingConfig

from diffusion_serving.backends.hosting import KEEP_ALIVE_SECONDS
from diffusion_serving.backends.rayserve.node import ENGINES
from diffusion_serving.backends.rayserve.replica import APPLICATION, Replica, quieten
from diffusion_serving.config import ServingConfig, Settings
from diffusion_serving.startup import Load

_UNLIMITED = 1_000_000
"""Requests that Serve lets into a replica: the engine's own queue says when it is enough."""
_GRACE_SECONDS = 600.0
"""How long Serve lets a replica finish, where a worker leaves a cluster."""
_LOGGING = LoggingConfig(enable_access_log=False, log_level="WARNING")
"""Serve's access log has whole paths, in which a prompt may stand; ours has known routes."""


def connect(address: str) -> None:
    """Connects this process to the node at `address` (host:port of the head's GCS)."""
    ray.init(address, namespace=APPLICATION, log_to_driver=False, configure_logging=False)
    quieten()


def start_serve(settings: Settings) -> None:
    """Has Serve listen where the settings say."""
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(
            host=settings.host, port=settings.port, keep_alive_timeout_s=KEEP_ALIVE_SECONDS
        ),
        logging_config=_LOGGING,
    )
    quieten()


def deploy(settings: Settings, load: Load, replicas: int) -> None:
    """Has Serve run so many replicas, each with one device. Keeps those that run already."""
    deployment = serve.deployment(
        name="replica",
        num_replicas=replicas,
        max_ongoing_requests=_UNLIMITED,
        graceful_shutdown_timeout_s=_GRACE_SECONDS,
        ray_actor_options=actor_options(settings.config),
        logging_config=_LOGGING,
    )(serve.ingress()(Replica))
    serve.run(deployment.bind(settings, load), name=APPLICATION, route_prefix="/")


def actor_options(config: ServingConfig) -> dict[str, Any]:
    """What a replica takes of its node."""
    return {
        "num_cpus": 0,
        "num_gpus": 1 if config.device == "cuda" else 0,
        "resources": {ENGINES: 1},
    }
