"""A control plane alone, as plain processes of the user, for tests without running pods."""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from localcluster import components, kubeconfig, pki, processes, programs, shell
from localcluster.components import Component, Endpoint, Layout
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import ClusterPaths
from localcluster.record import Record

_FIRST_PORT = 20000
_PORTS = 10000
_PACKAGE_ROOT = Path(__file__).parent.parent
# By default, Go's programs collect garbage at each doubling of the heap, which takes an eighth of
# the API server's processor time. A small machine has memory to spare rather than processor time.
_GARBAGE = {"GOGC": "200"}


def create(paths: ClusterPaths, progress: Progress) -> Record:
    """Writes the control plane's files and starts it; raises LocalClusterError."""
    binaries = programs.built(programs.NODE, paths.cache, progress)
    port = free_port(int(paths.id, 16))
    server = f"https://127.0.0.1:{port}"
    progress.say(f"starting the control plane of cluster {paths.name} at {server}")
    make_folders(paths)
    pki.write(paths.pki, pki.control_plane(("127.0.0.1", "localhost", components.SERVICE_IP)))
    write_control_plane_files(paths, server=server, inner_server=server)
    layout = Layout(PurePosixPath(paths.root), PurePosixPath(binaries))
    endpoint = Endpoint(bind="127.0.0.1", port=port, advertise="127.0.0.1")
    write_components(paths, components.control_plane(layout, endpoint, kubelet=False))
    record = Record("control-plane", server, programs.NODE.version, str(binaries))
    record.save(paths)
    start_supervisor(paths, [sys.executable, "-m", "localcluster.supervisor", str(paths.root)])
    return record


def free_port(seed: int) -> int:
    """The first free port from a start that depends on `seed`, below the ports of outgoing calls.

    Raises:
        LocalClusterError: All ports are taken.
    """
    for step in range(_PORTS):
        port = _FIRST_PORT + (seed + step) % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    last = _FIRST_PORT + _PORTS - 1
    raise LocalClusterError(f"All ports from {_FIRST_PORT} to {last} of 127.0.0.1 are taken.")


def make_folders(paths: ClusterPaths) -> None:
    for folder in (paths.root, paths.config, paths.logs, paths.run):
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)


def write_control_plane_files(paths: ClusterPaths, *, server: str, inner_server: str) -> None:
    """Writes the components' files; `server` is the API server's URL for people.

    `inner_server` is its URL for the components beside it.
    """
    write_json(paths.config / "audit-policy.json", components.audit_policy())
    for user in ("controller-manager", "scheduler"):
        write_kubeconfig(paths, user, inner_server)
    text = kubeconfig.document(
        name=f"localcluster-{paths.name}", server=server, pki=paths.pki, user="admin"
    )
    kubeconfig.write(paths.kubeconfig, text)


def write_kubeconfig(paths: ClusterPaths, user: str, server: str) -> None:
    text = kubeconfig.document(name=user, server=server, pki=paths.pki, user=user)
    kubeconfig.write(paths.config / f"{user}.kubeconfig", text)


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, indent=2) + "\n")


def write_components(paths: ClusterPaths, listed: list[Component]) -> None:
    (paths.root / "components.json").write_text(components.to_json(listed))


def start_supervisor(paths: ClusterPaths, argv: list[str]) -> None:
    """Starts the supervisor, which outlives this command and can be found by its mark."""
    with (paths.logs / "supervisor.log").open("a") as log:
        subprocess.Popen(
            argv,
            env=shell.environment(
                {**_GARBAGE, **processes.mark(paths.root), "PYTHONPATH": str(_PACKAGE_ROOT)}
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
