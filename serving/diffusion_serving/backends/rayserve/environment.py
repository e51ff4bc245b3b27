"""What Ray and Ray Serve read from the environment, all of it before they are imported."""

import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from diffusion_serving.observability.usage import SERVER

LINK = "DIFFUSION_RAY_LINK"
"""Where a replica finds the process that started its node: the path of a socket."""
_START_SECONDS = 180
"""What Serve's proxy may take to start: on busy cores more than the 5 s and 30 s of Serve's own."""
_DRAIN_SECONDS = 600
"""What a proxy that takes no more connections may take to end those that it has."""
_LOST_SECONDS = 30
"""After so long without a cluster's head a worker gives it up: Ray's own 60 s are all downtime."""
_LOG_BYTES = 10_000_000
"""Of one of Ray's own log files before it begins anew."""


@dataclass(frozen=True)
class Ports:
    """Ports beside the served one, on this machine alone where the node is alone."""

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
        """Eight that nobody uses now, so that several servers can run on one machine."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(8)]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            return cls(*(one.getsockname()[1] for one in sockets))


def for_ray(
    directory: Path, ports: Ports, cores: int, environ: Mapping[str, str]
) -> dict[str, str]:
    """The variables to set, given those that are set. `cores` is what one replica may use."""
    haproxy = directory / "h"  # Serve adds 68 characters for a socket, which may have 97
    variables = {
        LINK: str(directory / "link"),
        SERVER: str(os.getpid()),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        # Memory that runs out is the kernel's to deal with, as with the other backends: Ray's own
        # monitor would also count what other pods of the machine use.
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(_LOST_SECONDS),
        "RAY_ROTATION_MAX_BYTES": str(_LOG_BYTES),
        "RAY_ROTATION_BACKUP_COUNT": "1",
        # A worker process gets one thread from Ray if this is not set.
        "OMP_NUM_THREADS": environ.get("OMP_NUM_THREADS", str(cores)),
        # Ray has its workers run after everything else, but here the model is what all is for.
        "RAY_worker_niceness": "0",
        # Serve's HAProxy asks replicas directly. Its Python proxy was measured to take 9 ms of a
        # request, this way takes 1.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # The engine has a thread of its own, so the event loop is free for Serve's own messages.
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": f"{__package__}.headers:middlewares",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": str(_START_SECONDS),
        "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S": str(_START_SECONDS),
        # Serve kills a proxy that fails three checks in a row, and one that drains fails each. A
        # proxy that is lost is seen from outside: nothing answers any more.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": str(_DRAIN_SECONDS),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(_DRAIN_SECONDS),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.fallback_grpc),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.statistics),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.metrics),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
    }
    if "RAY_AUTH_MODE" not in environ:
        # Whoever reaches Ray's ports could run code here.
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return variables
