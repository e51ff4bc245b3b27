"""Disturbances of a control plane's parts: a killed API server, a compacted etcd."""

import json
import os
import signal
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

from localcluster import processes


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket, whose path may be longer than the limit for sockets."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        folder = os.open(self._path.parent, os.O_DIRECTORY)
        try:
            self.sock = socket(AF_UNIX, SOCK_STREAM)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


def api_server_pid(kubeconfig: str) -> int | None:
    """The id of the API server's process in the cluster of that kubeconfig, if it runs."""
    for pid in processes.marked(Path(kubeconfig).parent):
        program, *_ = [*processes.arguments(pid), ""]
        if program.endswith("/kube-apiserver"):
            return pid
    return None


def kill_api_server(kubeconfig: str) -> int:
    """Kills the API server, which the cluster's supervisor restarts; returns the old process id."""
    pid = api_server_pid(kubeconfig)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def compact_etcd(kubeconfig: str) -> None:
    """Drops all history up to now, so that no watch can resume from an earlier version."""
    etcd = Path(kubeconfig).parent / "run" / "etcd:0"
    newest = _ask(etcd, "/v3/kv/range", {"key": "AA=="})["header"]["revision"]
    _ask(etcd, "/v3/kv/compaction", {"revision": newest, "physical": True})


def _ask(etcd: Path, route: str, question: dict[str, object]) -> dict[str, dict[str, str]]:
    connection = _UnixConnection(etcd)
    connection.request("POST", route, json.dumps(question))
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200, f"{route}: {answer.status} {text}"
    document: dict[str, dict[str, str]] = json.loads(text)
    return document


def server_pids(pod: str) -> list[int]:
    """The ids of the pod's serving processes on this machine."""
    named = f"HOSTNAME={pod}".encode()
    pids = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and named in (folder / "environ").read_bytes().split(b"\0"):
                pids.append(int(folder.name))
        except OSError:  # the process ended meanwhile
            continue
    return pids
