"""The Serve applications, and how the head starts and deploys them."""

import os
import time
from typing import Any

import ray
from ray import serve
from ray.serve import Application
from ray.serve.config import (
    AutoscalingConfig,
    AutoscalingContext,
    AutoscalingPolicy,
    HTTPOptions,
    ProxyLocation,
)
from ray.serve.schema import LoggingConfig
from starlette.responses import JSONResponse
from starlette.routing import Router
from starlette.types import ASGIApp

from diffusion_serving.backends.rayserve.node import ENGINES, HEAD
from diffusion_serving.backends.rayserve.replica import APPLICATION, Replica, quieten
from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine_process.startup import Load, load_model
from diffusion_serving.http.server.listener import resolved
from diffusion_serving.http.server.uvicorn_host import KEEP_ALIVE_SECONDS
from diffusion_serving.settings import Settings, read_settings

_UNLIMITED = 1_000_000
"""Requests that Serve lets into a replica: the engine's own queue has the bound."""
_GRACE_SECONDS = 600.0
"""Seconds in which Serve lets a replica finish, where a worker leaves a cluster."""
_MOST_REPLICAS = 1024
_LOGGING = LoggingConfig(enable_access_log=False, log_level="WARNING")
"""Serve's access log has whole paths, in which a prompt may stand; ours has known routes."""


def connect(address: str) -> None:
    """Connects this process to the node at `address` (host:port of the head's GCS)."""
    ray.init(address, namespace=APPLICATION, log_to_driver=False, configure_logging=False)
    quieten()


def start_serve(settings: Settings) -> None:
    """Starts Serve's proxy on the host and port of the settings."""
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options=HTTPOptions(
            host=resolved(settings.host),
            port=settings.port,
            keep_alive_timeout_s=KEEP_ALIVE_SECONDS,
        ),
        logging_config=_LOGGING,
    )
    quieten()


def deploy(settings: Settings, load: Load, replicas: int | None) -> None:
    """Deploys replicas of one device each, so many; None: one for each of the workers' devices."""
    serve.run(_replicas(settings, load, replicas), name=APPLICATION, route_prefix="/")


def _replicas(settings: Settings, load: Load, replicas: int | None) -> Application:
    number: dict[str, Any] = {"num_replicas": replicas}
    if replicas is None:
        number = {"autoscaling_config": _one_for_each_device()}
    deployment = serve.deployment(
        name="replica",
        max_ongoing_requests=_UNLIMITED,
        graceful_shutdown_timeout_s=_GRACE_SECONDS,
        ray_actor_options=actor_options(settings.config),
        logging_config=_LOGGING,
        **number,
    )(serve.ingress()(Replica))
    return deployment.bind(settings, load)


def deploy_head() -> None:
    """Deploys the head's own /healthz, which depends on no worker."""
    serve.run(_head(), name="head", route_prefix="/healthz")


def _head() -> Application:
    deployment = serve.deployment(
        name="head",
        ray_actor_options={"num_cpus": 0, "resources": {HEAD: 1}},
        logging_config=_LOGGING,
    )(serve.ingress()(Head))
    return deployment.bind()


def declared_replicas(_: dict[str, Any]) -> Application:
    """Returns the application of `deploy` in a cluster, for Serve to import on any node."""
    return _replicas(read_settings([], os.environ), load_model, None)


def declared_head(_: dict[str, Any]) -> Application:
    """Returns the application of `deploy_head`, for Serve to import."""
    return _head()


class Head:
    """The head's own application."""

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return Router(default=JSONResponse({"status": "alive"}))


def _one_for_each_device() -> AutoscalingConfig:
    return AutoscalingConfig(
        min_replicas=0,
        max_replicas=_MOST_REPLICAS,
        upscale_delay_s=0,
        downscale_delay_s=0,
        policy=AutoscalingPolicy(policy_function=devices_of_cluster),  # type: ignore[no-untyped-call] # not annotated
    )


def devices_of_cluster(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """An autoscaling policy: as many replicas as the living nodes have devices.

    Serve's controller calls the policy several times a second; nodes are listed once a second.
    """
    state: dict[str, Any] = context.policy_state or {}
    now = time.monotonic()
    if now >= state.get("until", 0.0):
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call] # same
        devices = sum(int(node["Resources"].get(ENGINES, 0)) for node in nodes)
        state = {"until": now + 1.0, "devices": devices}
    return state["devices"], state


def actor_options(config: ServingConfig) -> dict[str, Any]:
    """Returns the resources that a replica takes of its node."""
    return {
        "num_cpus": 0,
        "num_gpus": 1 if config.device == "cuda" else 0,
        "resources": {ENGINES: 1},
    }
