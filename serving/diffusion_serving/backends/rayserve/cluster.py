"""Topology `cluster`: a head, which takes the requests, and workers, which have the replicas.

The environment says what a process is: DIFFUSION_RAY_ROLE (head or worker), DIFFUSION_RAY_ADDRESS
(under which the others reach it), DIFFUSION_RAY_HEAD (host:port of the head, for workers; on a
head, if given, the port it listens on for them). Where KubeRay makes the pods, it says the head's
host itself in FQ_RAY_IP, and DIFFUSION_RAY_DASHBOARD is the port where the head lets it look.
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
from diffusion_serving.config import Settings
from diffusion_serving.engine_process.startup import Load
from diffusion_serving.observability.startup_errors import InvalidConfiguration, StartupError

log = logging.getLogger(__name__)

GCS_PORT = 6379
HEAD_SECONDS = 600.0
"""How long a worker waits for its head."""
_LEAVE_SECONDS = 600
"""How long a node that leaves may take to finish."""
_ASK_SECONDS = 60.0
"""How long the head may take to hear that one leaves: of the time that the pod has to end."""
_MOST_PORT = 65535


class HeadLost(StartupError):  # noqa: N818 - named after the reason that users see
    """The head of this worker's cluster can't be reached (any more)."""

    reason = "HeadLost"


@dataclasses.dataclass(frozen=True)
class Place:
    """What this process is in its cluster."""

    role: Literal["head", "worker"]
    address: str
    head_host: str
    head_port: int
    dashboard_port: int | None = None
    """Where a head lets others look at what Serve does; None: nowhere."""


def place_of(environ: Mapping[str, str]) -> Place:
    """What the environment says.

    Raises:
        InvalidConfiguration: it doesn't say all, or not so that it can be read.

    """
    role = environ.get("DIFFUSION_RAY_ROLE", "")
    address = environ.get("DIFFUSION_RAY_ADDRESS", "")
    made_by_kuberay = f"{environ.get('FQ_RAY_IP', '')}:{GCS_PORT}"
    host, _, named = environ.get("DIFFUSION_RAY_HEAD", made_by_kuberay).rpartition(":")
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
    return Place(
        "head" if role == "head" else "worker",
        address,
        host or address,
        port,
        _port(dashboard) if dashboard is not None else None,
    )


def _port(text: str) -> int | None:
    """None if it is no port that one can listen on."""
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_PORT:
        return None
    return int(text)


def serve_cluster(settings: Settings, load: Load) -> int:
    """Is a head or a worker until a signal comes; returns 0.

    Raises:
        StartupError: a model could not be loaded, a device was lost, Ray or the head ended.

    """
    place = place_of(os.environ)
    if place.role == "head":
        return _serve_head(settings, place, load)
    return _serve_worker(settings, place)


def _serve_head(settings: Settings, place: Place, load: Load) -> int:
    ports = dataclasses.replace(Ports.free(), gcs=place.head_port)
    part = head_part(ports, dashboard=place.dashboard_port)
    with local_node(settings, ports, place.address, part, devices=0) as local:
        # Here and not above: what these import reads the environment.
        from diffusion_serving.backends.rayserve import deployment  # noqa: PLC0415

        deployment.connect(f"{place.address}:{ports.gcs}")
        exit_on_signals()  # Ray has taken them
        deployment.start_serve(settings)
        if place.dashboard_port is None:
            deployment.deploy_head()
            deployment.deploy(settings, load, replicas=None)
        else:
            declare(place.dashboard_port, os.environ, local.node.check)
        local.supervisor.take_signals()
        local.supervisor.run()
        # The workers' replicas can't be asked from here: what they are making has so long.
        local.supervisor.close(settings.drain_seconds)
    return 0


def _serve_worker(settings: Settings, place: Place) -> int:
    devices, ports = settings.config.devices, Ports.free()
    exit_on_signals()
    _wait_for_head(place)
    part = [f"--address={place.head_host}:{place.head_port}"]
    try:
        with local_node(settings, ports, place.address, part, devices=devices) as local:
            supervisor = local.supervisor
            with Probes(settings.host, settings.port, lambda: _why_not_ready(local, devices)):
                supervisor.take_signals()
                supervisor.run()
                if (node_id := supervisor.node_id) is not None:
                    if _leave(place, node_id):
                        supervisor.wait_gone(local.replicas)
                    else:
                        supervisor.drain(local.replicas, settings.drain_seconds)
    except RayEnded as error:
        if _head_listens(place):  # then it is this node's own Ray that has ended
            raise
        raise HeadLost(
            f"{error} Most likely the cluster's head at {place.head_host} is gone; this worker "
            "joins the new one when it starts again."
        ) from error
    return 0


def _wait_for_head(place: Place) -> None:
    deadline = time.monotonic() + HEAD_SECONDS
    while not _head_listens(place):
        if time.monotonic() > deadline:
            raise HeadLost(
                f"The cluster's head at {place.head_host}:{place.head_port} did not answer "
                f"for {HEAD_SECONDS:g} s."
            )
        time.sleep(1.0)


def _head_listens(place: Place) -> bool:
    try:
        socket.create_connection((place.head_host, place.head_port), timeout=5).close()
    except OSError:
        return False
    return True


def _why_not_ready(local: LocalNode, devices: int) -> str | None:
    if local.supervisor.stopping:
        return "The server is stopping."
    if local.supervisor.loaded < devices:
        return "The model is still loading."
    return None


def _leave(place: Place, node_id: str) -> bool:
    """Has Serve take this node's replicas out of its routes and let them finish, if it can."""
    if not _head_listens(place):  # Ray would try for most of a minute
        return False
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "drain-node",
        f"--address={place.head_host}:{place.head_port}",
        f"--node-id={node_id}",
        "--reason=DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message=its pod ends",
        f"--deadline-remaining-seconds={_LEAVE_SECONDS}",
    ]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ASK_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("the head did not answer that this node leaves")
        return False
    except subprocess.CalledProcessError as error:
        log.warning("the head did not let this node leave", extra={"said": error.stderr[-300:]})
        return False
    return True
