"""Client of the API server: server-side apply under one field manager, lists and watches."""

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from diffusion_operator.kube.apply_body import apply_body
from diffusion_operator.kube.kinds import KINDS, api_version_of
from diffusion_operator.kube.managed_fields import as_applied
from diffusion_operator.kube.metrics import API_ERRORS
from diffusion_operator.kube.objects import MANAGER, WATCHED_LABEL, Key, Object
from diffusion_operator.kube.watch_stream import SILENT_SECONDS, lines, until_silent

# A request without an answer is retried with the whole object.
TIMEOUT_SECONDS = 30.0
_CONNECTIONS = 100
_JSON = "application/json"
_PLAIN = {"Accept": _JSON, "Content-Type": _JSON}
# The official client writes JSON of its own for this type, unless a parameter follows.
_APPLY = {"Content-Type": "application/apply-patch+yaml; charset=utf-8"}
_MERGE = {"Content-Type": "application/merge-patch+json"}
_JSON_PATCH = {"Content-Type": "application/json-patch+json"}
_METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
_PAGE = 500
# An API server ends each watch after a while.
_WATCH_SECONDS = 300
_WATCHING = aiohttp.ClientTimeout(sock_connect=TIMEOUT_SECONDS, sock_read=SILENT_SECONDS)


class ApiError(Exception):
    """Refusal by the API server."""

    def __init__(
        self, status: int, reason: str, body: str, retry_after: float | None, path: str = ""
    ) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.body = body
        self.retry_after = retry_after
        """``Retry-After`` of the answer in seconds, if it has one."""
        self.path = path
        """Path of the request."""


class NotFoundError(ApiError):
    """Refusal because the object doesn't exist."""


def message_of(error: ApiError) -> str:
    """Message of the API server's answer, or the answer itself where it has none."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return error.body[:500]


def unknown_group(error: ApiError) -> str | None:
    """API group of the requested kind, where the cluster doesn't serve that kind."""
    # The API server answers JSON for a missing object of a served kind.
    if error.status != HTTPStatus.NOT_FOUND or "page not found" not in message_of(error):
        return None
    group = re.match("/apis/([^/]+)", error.path)
    return group[1] if group else None


class Cluster:
    """Client of the API server, safe for concurrent tasks.

    The connection is the official client's. This class makes the requests, because the official
    client's own request path takes longer than the API server does (docs/adr/0013).
    """

    def __init__(self, api: client.ApiClient) -> None:
        self.api = api

    @classmethod
    async def connect(cls, connections: int = _CONNECTIONS) -> "Cluster":
        """Connect with the pod's service account, or else with the current kube context.

        Args:
            connections: Limit of concurrent connections; 0 means no limit.
        """
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=configuration)
        configuration.connection_pool_maxsize = connections
        # Otherwise each request looks for a .netrc file in a thread.
        configuration.client_session_kwargs = {"trust_env": False}
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        await self.api.close()

    async def get(self, key: Key) -> Object | None:
        """Get the object, or ``None`` where it doesn't exist.

        Raises:
            ApiError: The API server refused.
        """
        try:
            return await self._request("GET", _path(key.kind, key.namespace, key.name))
        except NotFoundError:
            return None

    async def knows_kind_of(self, key: Key) -> bool:
        """Whether the cluster serves the key's kind; the object itself need not exist.

        The list of API groups is incomplete while an API server starts; a request for an object is
        reliable then.

        Raises:
            ApiError: The API server refused.
        """
        try:
            await self._request("GET", _path(key.kind, key.namespace, key.name))
        except NotFoundError as error:
            return unknown_group(error) is None
        return True

    async def pod_events(self, namespace: str, *, uid: str = "", reason: str = "") -> list[Object]:
        """Events about pods: of the pod of that uid, or of that reason.

        Raises:
            ApiError: The API server refused.
        """
        about = {"involvedObject.kind": "Pod", "involvedObject.uid": uid, "reason": reason}
        selected = ",".join(f"{field}={value}" for field, value in about.items() if value)
        events = await self._request("GET", _path("Event", namespace), {"fieldSelector": selected})
        return list(events["items"])

    async def pages(self, kind: str, namespace: str) -> AsyncGenerator[tuple[str, list[Object]]]:
        """Pages of the kind's labelled objects: the list's version and its items.

        Args:
            kind: Kind of the objects.
            namespace: Namespace, or ``""`` for all.

        Raises:
            ApiError: The API server refused.
        """
        async for page in self._pages(kind, namespace, {"labelSelector": WATCHED_LABEL}, _PLAIN):
            yield page["metadata"]["resourceVersion"], page["items"] or []

    async def _pages(
        self, kind: str, namespace: str, selected: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncGenerator[Object]:
        """Pages of a list, so that no answer grows with the cluster."""
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
        """Watch events of the kind's labelled objects after that version.

        The events end with the watch, or when it stays silent.

        Raises:
            ApiError: The API server refused; status 410 where it no longer knows the version.
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
            async for line in lines(until_silent(answer.response.content.iter_any())):
                event = json.loads(line)
                event_type, obj = event["type"], event["object"]
                if event_type == "ERROR":
                    raise ApiError(obj.get("code", 0), obj.get("reason", ""), str(line), None)
                yield event_type, obj
        finally:
            answer.response.close()

    async def uids(self, kind: str, namespaces: Sequence[str] = ()) -> set[str] | None:
        """Uids of all objects of the kind, or ``None`` where the cluster doesn't serve it.

        Raises:
            ApiError: The API server refused.
        """
        try:
            pages = [await self._uids(kind, namespace) for namespace in namespaces or [""]]
        except NotFoundError:
            return None
        return set().union(*pages)

    async def list_one(self, kind: str, namespace: str) -> None:
        """List at most one object, which fails where the kind is unserved or forbidden.

        Raises:
            ApiError: The API server refused.
        """
        await self._request("GET", _path(kind, namespace), {"limit": "1"}, headers=_METADATA)

    async def _uids(self, kind: str, namespace: str) -> set[str]:
        return {
            item["metadata"]["uid"]
            async for page in self._pages(kind, namespace, {}, _METADATA)
            # The API server writes an empty list of metadata as null.
            for item in page["items"] or ()
        }

    async def apply(self, obj: Object) -> Object:
        """Server-side apply; fields of other managers stay.

        Raises:
            ApiError: The API server refused.
        """
        return await self._apply(obj)

    async def groups(self) -> frozenset[str]:
        """API groups of the cluster, by name alone and with each of their versions.

        Raises:
            ApiError: The API server refused.
        """
        answer = await self._request("GET", "/apis")
        names = {group["name"] for group in answer["groups"]}
        versions = (version for group in answer["groups"] for version in group["versions"])
        return frozenset(names | {version["groupVersion"] for version in versions})

    async def hand_over_replicas(self, key: Key, replicas: int) -> None:
        """Add a second owner to the Deployment's replicas, so that the number outlasts this
        operator.

        Raises:
            ApiError: The API server refused.
        """
        body = {
            "apiVersion": api_version_of(key.kind),
            "kind": key.kind,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {"replicas": replicas},
        }
        await self._apply(body, manager=f"{MANAGER}-hand-over")

    async def json_patch(self, key: Key, operations: Sequence[Object]) -> Object:
        """JSON patch, for an element of a list that has no key for server-side apply.

        Raises:
            ApiError: The API server refused, also where a ``test`` operation fails.
        """
        path = _path(key.kind, key.namespace, key.name)
        query = {"fieldManager": MANAGER}
        return await self._request("PATCH", path, query, list(operations), _JSON_PATCH)

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status subresource.

        Raises:
            ApiError: The API server refused.
        """
        return await self._apply(obj, "/status")

    async def _apply(self, obj: Object, subresource: str = "", *, manager: str = MANAGER) -> Object:
        meta = obj["metadata"]
        path = _path(obj["kind"], meta["namespace"], meta["name"]) + subresource
        query = {"fieldManager": manager, "force": "true"}
        return await self._request("PATCH", path, query, apply_body(obj), _APPLY)

    async def create(self, obj: Object) -> Object | None:
        """Create the object, or return ``None`` where its name exists.

        Raises:
            ApiError: The API server refused.
        """
        path = _path(obj["kind"], obj["metadata"]["namespace"])
        # Otherwise the API server drops an unknown field silently.
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        try:
            return await self._request("POST", path, query, obj)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return None

    async def own_what_was_created(self, key: Key) -> None:
        """Turn the fields that ``create`` set into applied ones.

        Otherwise a later ``apply`` couldn't remove a field that is no longer desired.

        Raises:
            ApiError: The API server refused.
        """
        observed = await self.get(key)
        if observed is None:
            return
        meta = observed["metadata"]
        entries = meta.get("managedFields", [])
        applied = as_applied(entries)
        if applied != entries:
            # The version keeps a concurrent change from being lost.
            version = meta["resourceVersion"]
            body = {"metadata": {"managedFields": applied, "resourceVersion": version}}
            path = _path(key.kind, key.namespace, key.name)
            await self._request("PATCH", path, {"fieldManager": MANAGER}, body, _MERGE)

    async def delete(self, obj: Object) -> None:
        """Delete the object and, in the background, its children; absence is fine.

        Raises:
            ApiError: The API server refused, also where another object has the name now.
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
        body: Object | list[Object] | bytes | None = None,
        headers: Mapping[str, str] = _PLAIN,
    ) -> Object:
        answer = await self._send(method, path, query, body, headers)
        text = await answer.read()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _refused(answer, text, path)
        parsed: Object = json.loads(text)
        return parsed

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | list[Object] | bytes | None = None,
        headers: Mapping[str, str] = _PLAIN,
        *,
        timeout: float | aiohttp.ClientTimeout = TIMEOUT_SECONDS,  # noqa: ASYNC109 - the client's
    ) -> Any:
        """Response of the official client, with its body still unread."""
        url = f"{self.api.configuration.host}{path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        sent = {**_PLAIN, **headers}
        await self.api.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        return await self.api.call_api(method, url, sent, body=body, _request_timeout=timeout)


def _refused(answer: Any, text: bytes, path: str) -> ApiError:
    """Exception for the answer."""
    if answer.status != HTTPStatus.NOT_FOUND:  # a missing object is an expected answer
        API_ERRORS.labels(str(answer.status)).inc()
    kind = NotFoundError if answer.status == HTTPStatus.NOT_FOUND else ApiError
    body = text.decode(errors="replace")
    return kind(answer.status, answer.reason or "", body, _retry_after(answer.headers), path)


def _path(kind: str, namespace: str, name: str = "") -> str:
    served = KINDS[kind]
    prefix = f"/apis/{served.api_version}" if served.group else f"/api/{served.version}"
    place = f"namespaces/{namespace}/{served.plural}" if namespace else served.plural
    return "/".join(filter(None, (prefix, place, name)))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of the ``Retry-After`` header; the API server sends no dates there."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None
