"""The environment of Ray and Ray Serve, which they read when they are imported."""

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from diffusion_serving.http.server.header_limit import HEAD_SECONDS
from diffusion_serving.observability.usage import SERVER

LINK = "DIFFUSION_RAY_LINK"
"""Variable with the socket's path by which replicas reach the process that started their node."""
_START_SECONDS = 180
"""Seconds that Serve's proxy may take to start: on busy cores more than Serve's own 5 and 30."""
_DRAIN_SECONDS = 600
"""Seconds that a draining proxy may take to end its open connections."""
_LOST_SECONDS = 30
"""Seconds until a worker gives its head up: all of Ray's own 60 would be downtime."""
_PORTS = range(20_000, 30_000)
"""Ray's workers listen from 10002 to 19999 and from 30000, the kernel's clients from 32768."""
_CANDIDATES = 200
_LOG_BYTES = 10_000_000
"""Size at which Ray rotates a log file."""


@dataclass(frozen=True)
class Ports:
    """Ray's ports beside the served one, on the loopback alone where the node is alone."""

    gcs: int
    client: int
    dashboard: int
    agent: int
    fallback: int
    fallback_grpc: int
    statistics: int
    metrics: int

    @classmethod
    def free(cls) -> "Ports":
        """Returns eight unused ports, so that several servers can run on one machine.

        Ray binds them seconds later. The kernel gives a port of its own choice to the next
        connection that asks, hence these are of a range that neither the kernel nor Ray uses.
        """
        candidates = secrets.SystemRandom().sample(_PORTS, _CANDIDATES)
        unused = [port for port in candidates if _is_unused(port)]
        return cls(*unused[: len(fields(cls))])


def _is_unused(port: int) -> bool:
    """Whether no process listens on the port."""
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def for_ray(
    directory: Path, ports: Ports, cores: int, environ: Mapping[str, str]
) -> dict[str, str]:
    """Returns the variables to set. `cores` is the number that one replica may use."""
    haproxy = directory / "h"  # Serve adds 68 characters for a socket, which may have 97
    variables = {
        LINK: str(directory / "link"),
        SERVER: str(os.getpid()),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        # The kernel deals with exhausted memory, as with the other backends: Ray's own monitor
        # would also count the memory of other pods on the machine.
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(_LOST_SECONDS),
        "RAY_ROTATION_MAX_BYTES": str(_LOG_BYTES),
        "RAY_ROTATION_BACKUP_COUNT": "1",
        # Ray gives a worker process one thread if this is not set.
        "OMP_NUM_THREADS": environ.get("OMP_NUM_THREADS", str(cores)),
        # Ray gives its workers the lowest priority, but here the model is the purpose of the pod.
        "RAY_worker_niceness": "0",
        # Serve's HAProxy connects to replicas directly. Its Python proxy was measured to add 9 ms
        # to a request, HAProxy adds 1.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # The engine has a thread of its own, so the event loop is free for Serve's own messages.
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{__package__}.headers:middlewares",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": str(_START_SECONDS),
        "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S": str(_START_SECONDS),
        # Serve kills a proxy that fails three checks in a row, and a draining one fails each. A
        # lost proxy is noticed from outside: the port does not answer any more.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": str(_DRAIN_SECONDS),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(_DRAIN_SECONDS),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.fallback_grpc),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.statistics),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.metrics),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Serve has no setting for the time of a request's head. Its template ends HAProxy's
        # defaults with this value, so that a second line of it is one more default.
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": (
            f"leastconn\n    timeout http-request {HEAD_SECONDS}s"
        ),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
    }
    if "RAY_AUTH_MODE" not in environ:
        # A client that reaches Ray's ports could run code here.
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return variables
