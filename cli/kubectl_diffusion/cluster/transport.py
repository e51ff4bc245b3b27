"""Connections to a service's pods through the API server."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward
from urllib3.exceptions import HTTPError

from kubectl_diffusion.cluster.client import Cluster
from kubectl_diffusion.terminal.errors import PluginError

PORT = 8000


class Response:
    """A response whose body is read as it arrives."""

    def __init__(self, status: int, headers: Mapping[str, str], body: IO[bytes]) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self._body = body

    def lines(self) -> Iterator[bytes]:
        yield from self._body

    def read(self) -> bytes:
        return self._body.read()


def post(
    cluster: Cluster, service: str, body: bytes, headers: Mapping[str, str]
) -> AbstractContextManager[Response]:
    """Sends a POST to a service's /predict, past the proxy if the request carries a key."""
    if "Authorization" not in headers:
        return through_proxy(cluster, service, body, headers)
    pod = cluster.ready_pod(f"diffusion.dev/service={service}")
    return through_port_forward(cluster, pod, body, headers)


@contextmanager
def through_proxy(
    cluster: Cluster, service: str, body: bytes, headers: Mapping[str, str]
) -> Iterator[Response]:
    """Sends a POST through the API server's proxy, which drops the header Authorization."""
    api = cluster.api
    path = f"/api/v1/namespaces/{cluster.namespace}/services/{service}:80/proxy/predict"
    proxy_headers = {**headers}
    api.update_params_for_auth(proxy_headers, [], ["BearerToken"], path, "POST", body)
    try:
        response: Any = api.rest_client.pool_manager.request(
            "POST",
            api.configuration.host + path,
            body=body,
            headers=proxy_headers,
            preload_content=False,
            retries=False,
        )
    except HTTPError as error:
        raise PluginError(f"the cluster does not respond: {error}") from None
    try:
        yield Response(response.status, response.headers, response)
    finally:
        response.release_conn()


@contextmanager
def through_port_forward(
    cluster: Cluster, pod: str, body: bytes, headers: Mapping[str, str]
) -> Iterator[Response]:
    """Sends a POST to one pod over a forwarded port, with all headers."""
    api = client.CoreV1Api(cluster.api)
    try:
        forward = portforward(
            api.connect_get_namespaced_pod_portforward, pod, cluster.namespace, ports=str(PORT)
        )
    except ApiException as error:
        raise PluginError(f"the port of pod {pod!r} can't be forwarded: {error.reason}") from None
    connection = http.client.HTTPConnection("localhost", PORT)
    connection.sock = forward.socket(PORT)
    try:
        connection.request("POST", "/predict", body=body, headers=dict(headers))
        response = connection.getresponse()
        yield Response(response.status, dict(response.getheaders()), response)
    except (OSError, http.client.HTTPException) as error:
        raise PluginError(
            f"pod {pod!r} closed the connection: {error or type(error).__name__}"
        ) from None
    finally:
        connection.close()
        forward.close()
