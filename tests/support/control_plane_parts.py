"""What a test does to the parts of a control plane that it has made: a restart, a compaction."""

import json
import os
import signal
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

from localcluster import processes


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket, which may lie deeper than a socket's path may be long."""

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
    """The process of the cluster whose kubeconfig that is, if it runs."""
    for pid in processes.marked(Path(kubeconfig).parent):
        program, *_ = [*processes.arguments(pid), ""]
        if program.endswith("/kube-apiserver"):
            return pid
    return None


def kill_api_server(kubeconfig: str) -> int:
    """End it as a crash would; the cluster's supervisor starts another. Returns its process id."""
    pid = api_server_pid(kubeconfig)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def compact_etcd(kubeconfig: str) -> None:
    """Drop all history up to now, so that no watch can go on from before."""
    etcd = Path(kubeconfig).parent / "run" / "etcd:0"
    newest = _ask(etcd, "/v3/kv/range", {"key": "AA=="})["header"]["revision"]
    _ask(etcd, "/v3/kv/compaction", {"revision": newest, "physical": True})


def _ask(etcd: Path, route: str, question: dict[str, object]) -> dict[str, dict[str, str]]:
    connection = _UnixConnection(etcd)
    connection.request("POST", route, json.dumps(question))
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200, f"{route}: {answer.status} {text}"
    found: dict[str, dict[str, str]] = json.loads(text)
    return found


def server_pids(pod: str) -> list[int]:
    """The serving processes of that pod, as this machine numbers them."""
    named = f"HOSTNAME={pod}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and named in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it ended meanwhile
            continue
    return found
