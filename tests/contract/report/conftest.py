"""An API server that knows one LoadTest and one service."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

Object = dict[str, Any]


@dataclass
class FakeCluster:
    """An API server: the objects that it answers GETs with, and the POSTs that it received."""

    kubeconfig: Path
    objects: dict[str, Object] = field(default_factory=dict)
    predict: tuple[int, str, bytes] = (404, "text/plain", b"")
    patched: Callable[[Object], None] = lambda _: None
    """Operator's part: a change of an object after a merge patch of its annotations."""
    posted: list[tuple[str, Object, dict[str, str]]] = field(default_factory=list)


@pytest.fixture
def fake_cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    cluster = FakeCluster(tmp_path / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            obj = cluster.objects.get(self.path.partition("?")[0])
            reason = {"kind": "Status", "reason": "NotFound", "code": 404}
            self._answer(404 if obj is None else 200, "application/json", json.dumps(obj or reason))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            cluster.posted.append((self.path, body, headers))
            status, kind, text = cluster.predict
            self._answer(status, kind, text)

        def do_PATCH(self) -> None:
            if self.headers["Content-Type"] != "application/merge-patch+json":
                self._answer(415, "application/json", "{}")  # as for any custom resource
                return
            patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            obj = cluster.objects[self.path.partition("?")[0]]
            obj["metadata"].setdefault("annotations", {}).update(patch["metadata"]["annotations"])
            cluster.patched(obj)
            self._answer(200, "application/json", json.dumps(obj))

        def _answer(self, status: int, kind: str, text: str | bytes) -> None:
            data = text.encode() if isinstance(text, str) else text
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Keeps the requests out of the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    context = {"cluster": "fake", "user": "me", "namespace": "shop"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "contexts": [{"name": "fake", "context": context}],
        "clusters": [
            {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        ],
        "users": [{"name": "me", "user": {"token": "my-token"}}],
    }
    cluster.kubeconfig.write_text(yaml.safe_dump(kubeconfig))
    yield cluster
    server.shutdown()
    server.server_close()
