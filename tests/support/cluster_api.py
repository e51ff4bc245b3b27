"""One persistent HTTP client of an API server: requests, known kinds, and watches."""

import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import httpx
from kubernetes import client, config

import waiting

Object = dict[str, Any]

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
NOT_FOUND = "(NotFound)"  # a server that doesn't know the kind answers without this reason
KIND_KNOWN_WITHIN = 5.0
"""Seconds from a definition's condition Established to the kind's discovery, at most."""
_WATCHED_AGAIN_AFTER = 0.5
_REQUEST_SECONDS = 60.0


class KubectlError(Exception):
    """The API server or kubectl answered with an error, which the message repeats."""


class NotFoundError(KubectlError):
    """The object does not exist, while its kind is known."""


class Kind(NamedTuple):
    """A resource as the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL's path; without a namespace, the path of all namespaces."""
        root = "/apis/" if "/" in self.api_version else "/api/"
        space = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        parts = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{self.api_version}{space}/{self.plural}{parts}"


class ClusterApi:
    """An API server, with the identity of one kubeconfig."""

    def __init__(self, kubeconfig: str) -> None:
        own = client.Configuration()
        config.load_kube_config(kubeconfig, client_configuration=own)
        token = own.get_api_key_with_prefix("authorization")
        self.server: str = own.host
        self._client = httpx.Client(
            base_url=self.server,
            verify=_tls(own),
            headers={"Authorization": token} if token else {},
            timeout=_REQUEST_SECONDS,
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )
        self._kinds: dict[str, Kind] = {}
        self._watched: dict[Kind, threading.Event] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        options: Mapping[str, str] | None = None,
    ) -> Object:
        """The answer's document. Raises ``KubectlError``."""
        headers = {"Accept": accept, "Content-Type": content_type}
        content = None if body is None else json.dumps(body)
        try:
            answer = self._client.request(
                method, path, content=content, headers=headers, params=options
            )
        except httpx.TransportError as error:
            raise KubectlError(f"{method} {path}: {error!r}") from error
        if answer.is_error:
            message = f"{method} {path}: {_error_text(answer)}"
            raise NotFoundError(message) if NOT_FOUND in message else KubectlError(message)
        document: Object = answer.json()
        return document

    def kind(self, name: str) -> Kind:
        """The kind by a name that kubectl accepts: plural, singular, short, or with its group.

        Raises ``KubectlError``.
        """
        key = name.lower()
        deadline = time.monotonic() + KIND_KNOWN_WITHIN
        while key not in self._kinds:
            self._kinds = self._discover()
            if key not in self._kinds and time.monotonic() > deadline:
                raise KubectlError(f'the server doesn\'t have a resource type "{name}"')
            if key not in self._kinds:
                time.sleep(0.1)
        return self._kinds[key]

    def kind_of(self, manifest: Mapping[str, Any]) -> Kind:
        """The kind of a manifest. Raises ``KubectlError``."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        group = version.rpartition("/")[0]
        known = self.kind(f"{kind}.{group}" if group else kind)
        return known._replace(api_version=version)

    def watch(self, kind: Kind) -> None:
        """Reports each change of the kind's objects to ``waiting`` from now on."""
        with self._lock:
            begun = self._watched.get(kind)
            if begun is None:
                begun = self._watched[kind] = threading.Event()
                threading.Thread(target=self._watch, args=(kind, begun), daemon=True).start()
        begun.wait(_REQUEST_SECONDS)

    def _watch(self, kind: Kind, begun: threading.Event) -> None:
        while True:
            with suppress(httpx.HTTPError, ValueError):
                if not self._watch_once(kind, begun):
                    break
            begun.set()  # without the watch, a waiting look is repeated by its own interval
            time.sleep(_WATCHED_AGAIN_AFTER)
        with self._lock:
            del self._watched[kind]
        begun.set()

    def _watch_once(self, kind: Kind, begun: threading.Event) -> bool:
        """Passes on the events of one watch; False if the kind can't be watched."""
        with self._client.stream(
            "GET",
            kind.path(),
            params={"watch": "true"},
            headers={"Accept": METADATA},
            timeout=httpx.Timeout(_REQUEST_SECONDS, read=None),
        ) as answer:
            if answer.is_client_error:
                return False
            begun.set()
            for line in answer.iter_lines():
                metadata = json.loads(line)["object"].get("metadata", {})
                waiting.changed(self.topic(kind, metadata.get("namespace", "")))
        return True

    def topic(self, kind: Kind, namespace: str) -> waiting.Topic:
        return waiting.Topic(self.server, kind.path(), namespace if kind.namespaced else "")

    def _discover(self) -> dict[str, Kind]:
        kinds: dict[str, Kind] = {}
        for root in ("/api", "/apis"):
            for group in self.request("GET", root, accept=DISCOVERY)["items"]:
                for name, kind in _named(group):
                    kinds.setdefault(name, kind)  # the first group has precedence, as in kubectl
        return kinds


@cache
def cluster_api(kubeconfig: str) -> ClusterApi:
    """The client of that kubeconfig, one in this process."""
    return ClusterApi(kubeconfig)


def _named(group: Object) -> Iterator[tuple[str, Kind]]:
    """Yields each name of each resource of the group, the preferred version first."""
    name = group["metadata"].get("name", "")
    for version in group["versions"]:
        for resource in version.get("resources", ()):
            kind = Kind(
                f"{name}/{version['version']}" if name else version["version"],
                resource["responseKind"]["kind"],
                resource["resource"],
                resource["scope"] == "Namespaced",
            )
            names = [kind.plural, kind.kind.lower(), resource.get("singularResource", "")]
            for each in filter(None, [*names, *resource.get("shortNames", ())]):
                yield each, kind
                yield f"{each}.{name}", kind


def _tls(own: client.Configuration) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=own.ssl_ca_cert)
    if own.cert_file:
        tls.load_cert_chain(own.cert_file, own.key_file)
    return tls


def _error_text(answer: httpx.Response) -> str:
    """The error as kubectl words it."""
    try:
        status = answer.json()
    except ValueError:
        return f"{answer.status_code} {answer.text.strip()}"
    return f"Error from server ({status.get('reason', '')}): {status.get('message', '')}"
