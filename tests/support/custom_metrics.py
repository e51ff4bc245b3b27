"""A custom-metrics API for a cluster, with the queue length of each pod."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from kubectl import Kubectl
from stand_ins import CUSTOM_METRICS

Object = dict[str, Any]

METRIC = "diffusion_cost_in_flight"
_GROUP_VERSION = f"{CUSTOM_METRICS['spec']['group']}/{CUSTOM_METRICS['spec']['version']}"
_RESOURCE = {
    "name": f"pods/{METRIC}",
    "singularName": "",
    "namespaced": True,
    "kind": "MetricValueList",
    "verbs": ["get"],
}


@contextmanager
def custom_metrics(cluster: Kubectl, waiting: dict[str, int]) -> Iterator[None]:
    """Serves the API for a while; ``waiting`` has the queue lengths by pod, and may change."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(waiting))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The API server accepts any certificate here (insecureSkipTLSVerify).
    keys = Path(cluster.kubeconfig).parent / "pki"
    tls.load_cert_chain(keys / "apiserver.crt", keys / "apiserver.key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    place = CUSTOM_METRICS["spec"]["service"]
    service = {"type": "ExternalName", "externalName": "localhost"}
    port = {"service": {**place, "port": server.server_port}}
    api = {**CUSTOM_METRICS, "spec": {**CUSTOM_METRICS["spec"], **port}}
    try:
        cluster.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": service},
        )
        cluster.apply(api)
        name = api["metadata"]["name"]
        cluster("wait", "--for=condition=Available", f"apiservice/{name}", "--timeout=60s")
        yield
    finally:
        cluster("delete", "apiservice", CUSTOM_METRICS["metadata"]["name"], "--ignore-not-found")
        cluster.in_namespace(place["namespace"])(
            "delete", "service", place["name"], "--ignore-not-found"
        )
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(waiting: dict[str, int]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, of_pods = self.path.partition("/namespaces/")
            answer = _values(of_pods.partition("/")[0], waiting) if of_pods else _RESOURCES
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Keeps the requests out of the test's output."""

    return Handler


_RESOURCES: Object = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": _GROUP_VERSION,
    "resources": [_RESOURCE],
}


def _values(namespace: str, waiting: dict[str, int]) -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "MetricValueList",
        "apiVersion": _GROUP_VERSION,
        "metadata": {},
        "items": [
            {
                "describedObject": {"kind": "Pod", "namespace": namespace, "name": pod},
                "metricName": METRIC,
                "timestamp": now,
                "value": str(count),
            }
            for pod, count in waiting.items()
        ],
    }
