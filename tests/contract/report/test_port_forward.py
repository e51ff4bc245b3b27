"""The plugin reaches a service with a key over a forwarded port.

The API server's proxy removes the header with the key, so the plugin can't use it. The tests play
the API server, including the frames of the forwarded port.
"""

import base64
import json
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from kubectl_diffusion.__main__ import main

Object = dict[str, Any]
NAMESPACED = "/api/v1/namespaces/shop"
SERVICES = "/apis/diffusion.dev/v1alpha1/namespaces/shop/diffusionservices"
POD = {
    "metadata": {"name": "demo-1"},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
KEY = base64.b64encode(b"secret-key\n").decode()
OBJECTS: Object = {
    f"{SERVICES}/demo": {"spec": {"auth": {"apiKeySecretRef": {"name": "keys", "key": "api"}}}},
    f"{NAMESPACED}/secrets/keys": {"data": {"api": KEY}},
    f"{NAMESPACED}/pods": {"items": [POD]},
}


class ForwardingCluster:
    """Answers GETs from OBJECTS, and one request over a forwarded port."""

    def __init__(self) -> None:
        self.objects = dict(OBJECTS)
        self.received = b""
        self.server = serve(
            self._forward,
            "127.0.0.1",
            0,
            process_request=self._answer,
            open_timeout=30,
            close_timeout=0.1,
            select_subprotocol=lambda *_: Subprotocol("v4.channel.k8s.io"),
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _answer(self, _: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path.endswith("/portforward"):
            return None if "/pods/demo-1/" in path else _response(HTTPStatus.NOT_FOUND, {})
        obj = self.objects.get(path)
        return _response(HTTPStatus.OK if obj else HTTPStatus.NOT_FOUND, obj or {})

    def _forward(self, websocket: ServerConnection) -> None:
        port = (8000).to_bytes(2, "little")
        for channel in (b"\0", b"\1"):
            websocket.send(channel + port)
        while b"\r\n\r\n{" not in self.received or not self.received.endswith(b"}"):
            frame = websocket.recv()
            assert isinstance(frame, bytes)
            self.received += frame[1:]
        text = base64.b64encode(b"png bytes").decode()
        made = {"images": [text], "seed": 7, "width": 64, "height": 64}
        body = b"event: images\ndata: " + json.dumps(made).encode() + b"\n\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(body)}"
        websocket.send(b"\0" + head.encode() + b"\r\n\r\n" + body)


def _response(status: HTTPStatus, obj: Object) -> Response:
    body = json.dumps(obj).encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body))})
    return Response(status.value, status.phrase, headers, body)


@pytest.fixture
def cluster() -> Iterator[ForwardingCluster]:
    cluster = ForwardingCluster()
    yield cluster
    cluster.server.shutdown()


def run(cluster: ForwardingCluster, tmp_path: Path, *options: str) -> int:
    port = cluster.server.socket.getsockname()[1]
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "c", "user": {}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    out = str(tmp_path / "out.png")
    return main(["predict", "demo", "a red circle", "--kubeconfig", str(path), "-o", out, *options])


def test_the_key_of_the_services_own_secret_gets_to_the_service(
    cluster: ForwardingCluster, tmp_path: Path
) -> None:
    assert run(cluster, tmp_path) == 0
    assert (tmp_path / "out.png").read_bytes() == b"png bytes"
    head, _, body = cluster.received.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predict HTTP/1.1\r\n")
    assert b"Authorization: Bearer secret-key" in head
    assert json.loads(body)["prompt"] == "a red circle"


def test_a_key_from_a_file_overrides_the_secret(cluster: ForwardingCluster, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("mine\n")
    assert run(cluster, tmp_path, "--api-key-file", str(key)) == 0
    assert b"Authorization: Bearer mine" in cluster.received


def test_a_user_who_may_not_read_the_secret_learns_the_alternatives(
    cluster: ForwardingCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del cluster.objects[f"{NAMESPACED}/secrets/keys"]
    assert run(cluster, tmp_path) == 1
    assert "give --api-key-file or set DIFFUSION_API_KEY" in capsys.readouterr().err


def test_a_service_without_a_ready_pod_is_reported(
    cluster: ForwardingCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.objects[f"{NAMESPACED}/pods"] = {"items": [{**POD, "status": {"conditions": []}}]}
    assert run(cluster, tmp_path) == 1
    assert "no pod of the service is Ready" in capsys.readouterr().err


def test_a_port_that_cannot_be_forwarded_is_reported(
    cluster: ForwardingCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = {**POD, "metadata": {"name": "demo-2"}}
    cluster.objects[f"{NAMESPACED}/pods"] = {"items": [gone]}
    assert run(cluster, tmp_path) == 1
    assert "the port of pod 'demo-2' can't be forwarded: Handshake status 404" in (
        " ".join(capsys.readouterr().err.split())
    )
