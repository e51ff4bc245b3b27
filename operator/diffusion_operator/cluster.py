"""Requests to the API server: server-side apply under one field manager, and little else."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from diffusion_operator.api import GROUP, VERSION
from diffusion_operator.metrics import API_ERRORS
from diffusion_operator.objects import MANAGER, WATCHED_LABEL, Key, Object

# kind → (group, version, plural); known beforehand, so that nothing has to be discovered
_KINDS = {
    "DiffusionService": (GROUP, VERSION, "diffusionservices"),
    "LoadTest": (GROUP, VERSION, "loadtests"),
    "Comparison": (GROUP, VERSION, "comparisons"),
    "ServiceAccount": ("", "v1", "serviceaccounts"),
    "Service": ("", "v1", "services"),
    "Secret": ("", "v1", "secrets"),
    "Event": ("", "v1", "events"),
    "Pod": ("", "v1", "pods"),
    "PersistentVolumeClaim": ("", "v1", "persistentvolumeclaims"),
    "ConfigMap": ("", "v1", "configmaps"),
    "Deployment": ("apps", "v1", "deployments"),
    "ControllerRevision": ("apps", "v1", "controllerrevisions"),
    "PodDisruptionBudget": ("policy", "v1", "poddisruptionbudgets"),
    "Ingress": ("networking.k8s.io", "v1", "ingresses"),
    "NetworkPolicy": ("networking.k8s.io", "v1", "networkpolicies"),
    "HorizontalPodAutoscaler": ("autoscaling", "v2", "horizontalpodautoscalers"),
    "ScaledObject": ("keda.sh", "v1alpha1", "scaledobjects"),
    "HTTPRoute": ("gateway.networking.k8s.io", "v1", "httproutes"),
    "RayService": ("ray.io", "v1", "rayservices"),
    "RayCluster": ("ray.io", "v1", "rayclusters"),
    "Job": ("batch", "v1", "jobs"),
    "Role": ("rbac.authorization.k8s.io", "v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "v1", "rolebindings"),
}

# A request that gets no answer is given up, and tried again with the whole object.
TIMEOUT_SECONDS = 30.0
_CONNECTIONS = 100
_JSON = "application/json"
_PLAIN = {"Accept": _JSON, "Content-Type": _JSON}
_APPLY = {"Content-Type": "application/apply-patch+yaml"}
_MERGE = {"Content-Type": "application/merge-patch+json"}
_METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
_PAGE = 500
# An API server ends a watch after a while, and says something on one once a minute: one that is
# silent for longer is taken for dead.
_WATCH_SECONDS = 300
_WATCHING = aiohttp.ClientTimeout(sock_connect=TIMEOUT_SECONDS, sock_read=70.0)


class ApiError(Exception):
    """The API server refused."""

    def __init__(
        self, status: int, reason: str, body: str, retry_after: float | None, path: str = ""
    ) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.body = body
        self.retry_after = retry_after
        """Seconds after which the API server wants to be asked again, if it said so."""
        self.path = path
        """What was asked for."""


class NotFoundError(ApiError):
    """There is no such object."""


def said_by(error: ApiError) -> str:
    """The message of the API server's answer, or the answer where it has none."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return error.body[:500]


def unknown_group(error: ApiError) -> str | None:
    """The API group of the kind that was asked for, where the cluster doesn't know that kind."""
    # Of an object that isn't there, the API server speaks in JSON.
    if error.status != HTTPStatus.NOT_FOUND or "page not found" not in said_by(error):
        return None
    found = re.match("/apis/([^/]+)", error.path)
    return found[1] if found else None


class Cluster:
    """The API server, as the operator writes to it. Safe to use from concurrent tasks.

    The connection is the official client's. Requests are made here, as the client's own way to
    one takes longer than the API server does for most (docs/adr/0013).
    """

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api

    @classmethod
    async def connect(cls, connections: int = _CONNECTIONS) -> "Cluster":
        """Connect with the pod's service account, or else the current kube context.

        So many ``connections`` at once at most, 0 for as many as there are requests.
        """
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=configuration)
        configuration.connection_pool_maxsize = connections
        # Otherwise a thread looks for a .netrc file at each request.
        configuration.client_session_kwargs = {"trust_env": False}
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        await self.api.close()

    async def get(self, key: Key) -> Object | None:
        """The object, or nothing where there is none. Raises ``ApiError``."""
        try:
            return await self._request("GET", _path(key.kind, key.namespace, key.name))
        except NotFoundError:
            return None

    async def knows_kind_of(self, key: Key) -> bool:
        """Whether the cluster has objects of the key's kind, be there this one or not.

        Unlike the list of the API groups, which lacks some while the API server starts, a request
        for an object is answered only when the kinds are known. Raises ``ApiError``.
        """
        try:
            await self._request("GET", _path(key.kind, key.namespace, key.name))
        except NotFoundError as error:
            return unknown_group(error) is None
        return True

    async def failed_mounts(self, namespace: str) -> list[Object]:
        """The kubelets' complaints about volumes of the namespace's pods. Raises ``ApiError``."""
        about = "involvedObject.kind=Pod,reason=FailedMount"
        found = await self._request("GET", _path("Event", namespace), {"fieldSelector": about})
        return list(found["items"])

    async def pages(self, kind: str, namespace: str) -> AsyncGenerator[tuple[str, list[Object]]]:
        """The children of the kind in a namespace or, for "", in all: the list's version, objects.

        Raises ``ApiError``.
        """
        async for page in self._pages(kind, namespace, {"labelSelector": WATCHED_LABEL}, _PLAIN):
            yield page["metadata"]["resourceVersion"], page["items"] or []

    async def _pages(
        self, kind: str, namespace: str, selected: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncGenerator[Object]:
        """A list in its pages, so that none grows with the cluster."""
        query = {"limit": str(_PAGE), **selected}
        while True:
            page = await self._request("GET", _path(kind, namespace), query, headers=headers)
            yield page
            if not (more := page["metadata"].get("continue")):
                return
            query["continue"] = more

    async def watch(
        self, kind: str, namespace: str, version: str
    ) -> AsyncGenerator[tuple[str, Object]]:
        """What happens to the children of the kind after that version, until a watch ends.

        Raises ``ApiError``, with status 410 where the version is no longer known.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": WATCHED_LABEL,
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        answer = await self._send("GET", _path(kind, namespace), query, timeout=_WATCHING)
        try:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise _refused(answer, await answer.read(), _path(kind, namespace))
            async for line in _lines(answer.response.content.iter_any()):
                event = json.loads(line)
                said, obj = event["type"], event["object"]
                if said == "ERROR":
                    raise ApiError(obj.get("code", 0), obj.get("reason", ""), str(line), None)
                yield said, obj
        finally:
            answer.response.close()

    async def uids(self, kind: str, namespaces: Sequence[str] = ()) -> set[str] | None:
        """Those of all objects of the kind, in these namespaces or in every one.

        Nothing where the cluster doesn't know the kind, or not yet. Raises ``ApiError``.
        """
        try:
            pages = [await self._uids(kind, namespace) for namespace in namespaces or [""]]
        except NotFoundError:
            return None
        return set().union(*pages)

    async def _uids(self, kind: str, namespace: str) -> set[str]:
        return {
            item["metadata"]["uid"]
            async for page in self._pages(kind, namespace, {}, _METADATA)
            # An empty list of metadata is written as null.
            for item in page["items"] or ()
        }

    async def apply(self, obj: Object) -> Object:
        """Server-side apply; what others set beside it stays. Raises ``ApiError``."""
        return await self._apply(obj)

    async def groups(self) -> frozenset[str]:
        """The API groups that the cluster knows, by name alone and with each of their versions.

        Raises ``ApiError``.
        """
        found = await self._request("GET", "/apis")
        names = {group["name"] for group in found["groups"]}
        versions = (version for group in found["groups"] for version in group["versions"])
        return frozenset(names | {version["groupVersion"] for version in versions})

    async def hand_over_replicas(self, key: Key, replicas: int) -> None:
        """Have the Deployment's replicas owned beside this operator, so that they outlast it.

        Raises ``ApiError``.
        """
        body = {
            "apiVersion": api_version_of(key.kind),
            "kind": key.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {"replicas": replicas},
        }
        await self._apply(body, manager=f"{MANAGER}-hand-over")

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status subresource. Raises ``ApiError``."""
        return await self._apply(obj, "/status")

    async def _apply(self, obj: Object, subresource: str = "", *, manager: str = MANAGER) -> Object:
        meta = obj["metadata"]
        path = _path(obj["kind"], meta["namespace"], meta["name"]) + subresource
        query = {"fieldManager": manager, "force": "true"}
        return await self._request("PATCH", path, query, obj, _APPLY)

    async def create(self, obj: Object) -> Object | None:
        """Make the object; nothing where one of its name is there. Raises ``ApiError``."""
        path = _path(obj["kind"], obj["metadata"]["namespace"])
        # Otherwise a field that no one knows is dropped in silence.
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        try:
            return await self._request("POST", path, query, obj)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return None

    async def own_what_was_created(self, key: Key) -> None:
        """Have the fields of an object that was made by ``create`` count as applied.

        Otherwise an ``apply`` couldn't take away what it no longer asks for. Raises ``ApiError``.
        """
        live = await self.get(key)
        if live is None:
            return
        meta = live["metadata"]
        entries = meta.get("managedFields", [])
        applied = _as_applied(entries)
        if applied != entries:
            # With its version, so that nobody's change in between is lost.
            version = meta["resourceVersion"]
            body = {"metadata": {"managedFields": applied, "resourceVersion": version}}
            path = _path(key.kind, key.namespace, key.name)
            await self._request("PATCH", path, {"fieldManager": MANAGER}, body, _MERGE)

    async def delete(self, obj: Object) -> None:
        """Delete this object and, in the background, what it owns; absence is fine.

        Raises ``ApiError``, also where another object has taken its name.
        """
        kind, meta = obj["kind"], obj["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": meta["uid"]},
        }
        with suppress(NotFoundError):
            path = _path(kind, meta["namespace"], meta["name"])
            await self._request("DELETE", path, body=options)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        headers: Mapping[str, str] = _PLAIN,
    ) -> Object:
        answer = await self._send(method, path, query, body, headers)
        text = await answer.read()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _refused(answer, text, path)
        found: Object = json.loads(text)
        return found

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        headers: Mapping[str, str] = _PLAIN,
        *,
        timeout: float | aiohttp.ClientTimeout = TIMEOUT_SECONDS,  # noqa: ASYNC109 - the client's
    ) -> Any:
        """The official client's response, of which the body is still to be read."""
        url = f"{self.api.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        sent = {**_PLAIN, **headers}
        await self.api.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        return await self.api.call_api(method, url, sent, body=body, _request_timeout=timeout)


def _refused(answer: Any, text: bytes, path: str) -> ApiError:
    """The refusal that the answer is."""
    if answer.status != HTTPStatus.NOT_FOUND:  # which is what asking for absence hopes for
        API_ERRORS.labels(str(answer.status)).inc()
    kind = NotFoundError if answer.status == HTTPStatus.NOT_FOUND else ApiError
    said = text.decode(errors="replace")
    return kind(answer.status, answer.reason or "", said, _retry_after(answer.headers), path)


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """The lines, however long they are; the last one may lack its end."""
    parts: list[bytes] = []
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            yield b"".join([*parts, line])
            parts = []
        parts.append(rest)
    if any(parts):
        yield b"".join(parts)


def api_version_of(kind: str) -> str:
    """Group and version of the kind, as its objects name them."""
    group, version, _ = _KINDS[kind]
    return f"{group}/{version}" if group else version


def _path(kind: str, namespace: str, name: str = "") -> str:
    group, version, plural = _KINDS[kind]
    prefix = f"/apis/{group}/{version}" if group else f"/api/{version}"
    path = f"{prefix}/namespaces/{namespace}/{plural}" if namespace else f"{prefix}/{plural}"
    return f"{path}/{name}" if name else path


def _as_applied(entries: Sequence[Object]) -> Sequence[Object]:
    """The entries of ``managedFields``, what this operator made by a POST in one with the applied.

    Both are there where an operator that didn't know of the POST has applied the object since.
    """
    ours = [each for each in entries if each["manager"] == MANAGER and "subresource" not in each]
    if not any(each["operation"] == "Update" for each in ours):
        return entries
    fields: Object = {}
    for each in ours:
        fields = _united(fields, each.get("fieldsV1") or {})
    others = [each for each in entries if each not in ours]
    return [*others, {**ours[-1], "operation": "Apply", "fieldsV1": fields}]


def _united(fields: Object, more: Object) -> Object:
    """Both trees of fields in one."""
    shared = {name: _united(part, more[name]) for name, part in fields.items() if name in more}
    return {**fields, **more, **shared}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of the answer's ``Retry-After``; the API server gives no dates there."""
    said = headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else None
