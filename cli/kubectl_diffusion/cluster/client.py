"""The cluster client, with the caller's own kubeconfig and permissions."""

import base64
from collections.abc import Callable
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from kubectl_diffusion.cluster.kinds import GROUP, VERSION, Kind
from kubectl_diffusion.terminal.errors import ClusterAwayError, PluginError

_FORBIDDEN, _NOT_FOUND, _UNAUTHORIZED = 403, 404, 401
_TOO_MANY, _SERVER_ERROR = 429, 500
_MERGE_PATCH = "application/merge-patch+json"

Object = dict[str, Any]
T = TypeVar("T")


class Cluster:
    """One context of a kubeconfig, and one namespace."""

    def __init__(
        self,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
    ) -> None:
        try:
            known, active = config.list_kube_config_contexts(kubeconfig)
            contexts = {each["name"]: each for each in known}
            chosen = contexts.get(context, {}) if context else active
            self.api = config.new_client_from_config(kubeconfig, context)
        except config.ConfigException as error:
            raise PluginError(
                f"no cluster is configured: {error} (see kubectl config get-contexts)"
            ) from None
        self.namespace: str = namespace or chosen.get("context", {}).get("namespace") or "default"

    def resource(self, kind: Kind, name: str) -> Object:
        """One resource. Raises ``PluginError``."""
        api: Any = client.CustomObjectsApi(self.api)
        resource: Object = self._call(
            f"{kind.name} {name!r}",
            lambda: api.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, kind.plural, name
            ),
        )
        return resource

    def annotate(self, kind: Kind, name: str, annotation: str, value: str) -> Object:
        """The resource after one annotation has the value. Raises ``PluginError``."""
        api: Any = client.CustomObjectsApi(self.api)
        patch = {"metadata": {"annotations": {annotation: value}}}
        resource: Object = self._call(
            f"{kind.name} {name!r}",
            lambda: api.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                kind.plural,
                name,
                patch,
                _content_type=_MERGE_PATCH,
            ),
            verb="change",
        )
        return resource

    def config_map(self, name: str) -> dict[str, str]:
        """The data of a ConfigMap. Raises ``PluginError``."""
        api = client.CoreV1Api(self.api)
        config_map = self._call(
            f"ConfigMap {name!r}", lambda: api.read_namespaced_config_map(name, self.namespace)
        )
        return dict(config_map.data or {})

    def secret(self, name: str, key: str) -> str:
        """One value of a Secret. Raises ``PluginError``."""
        api = client.CoreV1Api(self.api)
        secret = self._call(
            f"Secret {name!r}", lambda: api.read_namespaced_secret(name, self.namespace)
        )
        value = (secret.data or {}).get(key)
        if value is None:
            raise PluginError(f"Secret {name!r} has no key {key!r}")
        return base64.b64decode(value).decode().splitlines()[0]

    def ready_pod(self, selector: str) -> str:
        """The name of a Ready pod. Raises ``PluginError`` without one."""
        api: Any = client.CoreV1Api(self.api)
        pods = self._call(
            f"pods of {selector}",
            lambda: api.list_namespaced_pod(self.namespace, label_selector=selector),
        )
        for pod in pods.items:
            conditions = pod.status.conditions or ()
            if any(each.type == "Ready" and each.status == "True" for each in conditions):
                return str(pod.metadata.name)
        raise PluginError("no pod of the service is Ready: kubectl get dsvc says why, under REASON")

    def _call(self, subject: str, request: Callable[[], T], verb: str = "read") -> T:
        """Sends a request to the API server and translates its errors to ``PluginError``."""
        try:
            return request()
        except ApiException as error:
            passes = error.status == _TOO_MANY or (error.status or 0) >= _SERVER_ERROR
            kind = ClusterAwayError if passes else PluginError
            raise kind(self._message(subject, error, verb)) from None
        except HTTPError as error:
            host = self.api.configuration.host
            message = f"the cluster at {host} does not respond: {_root(error)}"
            raise ClusterAwayError(message) from None

    def _message(self, subject: str, error: ApiException, verb: str) -> str:
        place = f"in namespace {self.namespace!r}"
        if error.status == _NOT_FOUND:
            return f"there is no {subject} {place}: see kubectl get dsvc,lt,cmp -A, or give -n"
        if error.status == _FORBIDDEN:
            return f"you may not {verb} {subject} {place}: ask an administrator for permission"
        if error.status == _UNAUTHORIZED:
            return "the cluster rejects your credentials: log in again"
        return f"the cluster returned {error.status} {error.reason} for {subject}"


def _root(error: HTTPError) -> str:
    """The root cause of an error, such as a refused connection."""
    reason = getattr(error, "reason", None)
    return _root(reason) if isinstance(reason, HTTPError) else str(reason or error)
