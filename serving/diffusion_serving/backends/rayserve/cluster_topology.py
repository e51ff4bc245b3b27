"""Topology `cluster`: a head, which takes the requests, and workers, which have the replicas.

The environment gives the role of a process: DIFFUSION_RAY_ROLE (head or worker),
DIFFUSION_RAY_ADDRESS (the address for the other nodes), DIFFUSION_RAY_HEAD (host:port of the head,
for workers; on a head, optional, the port it listens on for them). KubeRay itself sets the head's
host as FQ_RAY_IP, and DIFFUSION_RAY_DASHBOARD is the port of the dashboard that it reads.
"""

import dataclasses
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Literal

from diffusion_serving.backends.rayserve.declared_applications import declare
from diffusion_serving.backends.rayserve.environment import Ports
from diffusion_serving.backends.rayserve.local_node import LocalNode, local_node
from diffusion_serving.backends.rayserve.node import RayEnded, head_part
from diffusion_serving.backends.rayserve.probes import Probes
from diffusion_serving.backends.rayserve.supervisor import exit_on_signals
from diffusion_serving.engine_process.startup import Load
from diffusion_serving.observability.startup_errors import InvalidConfiguration, StartupError
from diffusion_serving.settings import Settings

log = logging.getLogger("diffusion_serving")

GCS_PORT = 6379
HEAD_SECONDS = 600.0
"""Seconds that a worker waits for its head."""
_LEAVE_SECONDS = 600
"""Seconds that a leaving node may take to finish its requests."""
_DRAIN_COMMAND_SECONDS = 60.0
"""Seconds that the head may take to accept a drain, out of the pod's grace period."""
_MOST_PORT = 65535


class HeadLost(StartupError):  # noqa: N818 - named after the reason that users see
    """The head of this worker's cluster cannot be reached, or not any more."""

    reason = "HeadLost"


@dataclasses.dataclass(frozen=True)
class ClusterNode:
    """A node of a Ray cluster, as which this process runs: its role and addresses."""

    role: Literal["head", "worker"]
    address: str
    head_host: str
    head_port: int
    dashboard_port: int | None = None
    """Port of the head's dashboard, by which KubeRay follows Serve; None: no dashboard."""


def cluster_node_of(environ: Mapping[str, str]) -> ClusterNode:
    """Reads the node from the environment.

    Raises:
        InvalidConfiguration: a variable is missing or malformed.

    """
    role = environ.get("DIFFUSION_RAY_ROLE", "")
    address = environ.get("DIFFUSION_RAY_ADDRESS", "")
    kuberay_head = f"{environ.get('FQ_RAY_IP', '')}:{GCS_PORT}"
    host, _, named = environ.get("DIFFUSION_RAY_HEAD", kuberay_head).rpartition(":")
    port, dashboard = _port(named), environ.get("DIFFUSION_RAY_DASHBOARD")
    if role not in ("head", "worker"):
        raise InvalidConfiguration(
            f"DIFFUSION_RAY_ROLE is {role!r}: with rayserve.topology cluster it is head or worker."
        )
    if not address:
        raise InvalidConfiguration(
            "DIFFUSION_RAY_ADDRESS is missing: the address at which the others reach this process."
        )
    if port is None or (role == "worker" and not host):
        raise InvalidConfiguration("DIFFUSION_RAY_HEAD is not host:port of the cluster's head.")
    if dashboard is not None and _port(dashboard) is None:
        raise InvalidConfiguration("DIFFUSION_RAY_DASHBOARD is not a port.")
    return ClusterNode(
        "head" if role == "head" else "worker",
        address,
        host or address,
        port,
        _port(dashboard) if dashboard is not None else None,
    )


def _port(text: str) -> int | None:
    """Parses a port to listen on; None if it is none."""
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_PORT:
        return None
    return int(text)


def serve_cluster(settings: Settings, load: Load) -> int:
    """Runs a head or a worker until a signal comes; returns 0.

    Raises:
        StartupError: a model could not be loaded, a device was lost, Ray or the head ended.

    """
    node = cluster_node_of(os.environ)
    if node.role == "head":
        return _serve_head(settings, node, load)
    return _serve_worker(settings, node)


def _serve_head(settings: Settings, node: ClusterNode, load: Load) -> int:
    ports = dataclasses.replace(Ports.free(), gcs=node.head_port)
    part = head_part(ports, dashboard=node.dashboard_port)
    with local_node(settings, ports, node.address, part, devices=0) as local:
        # Here and not above: Ray reads the environment when it is imported.
        from diffusion_serving.backends.rayserve import deployment  # noqa: PLC0415

        deployment.connect(f"{node.address}:{ports.gcs}")
        exit_on_signals()  # Ray has replaced the handlers
        deployment.start_serve(settings)
        if node.dashboard_port is None:
            deployment.deploy_head()
            deployment.deploy(settings, load, replicas=None)
        else:
            declare(node.dashboard_port, os.environ, local.node.check)
        local.supervisor.take_signals()
        local.supervisor.run()
        # The head cannot ask the workers' replicas: their running requests have so long.
        local.supervisor.close(settings)
    return 0


def _serve_worker(settings: Settings, node: ClusterNode) -> int:
    devices, ports = settings.config.devices, Ports.free()
    exit_on_signals()
    _wait_for_head(node)
    part = [f"--address={node.head_host}:{node.head_port}"]
    try:
        with local_node(settings, ports, node.address, part, devices=devices) as local:
            supervisor = local.supervisor
            with Probes(settings.host, settings.port, lambda: _why_not_ready(local, devices)):
                supervisor.take_signals()
                supervisor.run()
                if (node_id := supervisor.node_id) is not None:
                    if _leave(node, node_id):
                        supervisor.wait_gone(local.replicas, settings)
                    else:
                        supervisor.drain(local.replicas, settings)
    except RayEnded as error:
        if _head_listens(node):  # then this node's own Ray has ended
            raise
        raise HeadLost(
            f"{error} Most likely the cluster's head at {node.head_host} is gone; this worker "
            "joins the new one when it starts again."
        ) from error
    return 0


def _wait_for_head(node: ClusterNode) -> None:
    deadline = time.monotonic() + HEAD_SECONDS
    while not _head_listens(node):
        if time.monotonic() > deadline:
            raise HeadLost(
                f"The cluster's head at {node.head_host}:{node.head_port} did not answer "
                f"for {HEAD_SECONDS:g} s."
            )
        time.sleep(1.0)


def _head_listens(node: ClusterNode) -> bool:
    try:
        socket.create_connection((node.head_host, node.head_port), timeout=5).close()
    except OSError:
        return False
    return True


def _why_not_ready(local: LocalNode, devices: int) -> str | None:
    if local.supervisor.stopping:
        return "The server is stopping."
    if local.supervisor.loaded < devices:
        return "The model is still loading."
    return None


def _leave(node: ClusterNode, node_id: str) -> bool:
    """Makes Serve drain this node's replicas; returns whether the head accepted that."""
    if not _head_listens(node):  # Ray would retry for most of a minute
        return False
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "drain-node",
        f"--address={node.head_host}:{node.head_port}",
        f"--node-id={node_id}",
        "--reason=DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message=its pod ends",
        f"--deadline-remaining-seconds={_LEAVE_SECONDS}",
    ]
    try:
        subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_DRAIN_COMMAND_SECONDS
        )
    except subprocess.TimeoutExpired:
        log.warning("the head did not answer the drain of this node")
        return False
    except subprocess.CalledProcessError as error:
        log.warning(
            "the head refused the drain of this node", extra={"stderr": error.stderr[-300:]}
        )
        return False
    return True
