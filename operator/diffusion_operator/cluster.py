"""Writes to the API server: server-side apply under one field manager, and little else."""

import json
from collections.abc import Mapping
from typing import Any

from kubernetes.aio import client, config
from kubernetes.aio.dynamic import DynamicClient, Resource
from kubernetes.aio.dynamic.exceptions import ConflictError, DynamicApiError, NotFoundError

from diffusion_operator.api import GROUP, VERSION
from diffusion_operator.objects import MANAGER, Key, Object

_KINDS = {
    "DiffusionService": (GROUP, VERSION, "diffusionservices"),
    "LoadTest": (GROUP, VERSION, "loadtests"),
    "Comparison": (GROUP, VERSION, "comparisons"),
    "ServiceAccount": ("", "v1", "serviceaccounts"),
    "Service": ("", "v1", "services"),
    "Secret": ("", "v1", "secrets"),
    "Event": ("", "v1", "events"),
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
    "Job": ("batch", "v1", "jobs"),
    "Role": ("rbac.authorization.k8s.io", "v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "v1", "rolebindings"),
}

ApiError = DynamicApiError


def said_by(error: ApiError) -> str:
    """The message of the API server's answer, or the answer where it has none."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body)[:500]


def _resource(kind: str) -> Resource:
    group, version, plural = _KINDS[kind]
    return Resource(
        prefix="apis" if group else "api",
        group=group,
        api_version=version,
        kind=kind,
        namespaced=True,
        name=plural,
    )


class Cluster:
    """The API server, as the operator writes to it. Safe to use from concurrent tasks."""

    def __init__(self, api: client.ApiClient) -> None:
        # Every kind is known beforehand, so the client is left without its discovery requests.
        self.api = api
        self._client = DynamicClient(api)

    @classmethod
    async def connect(cls) -> "Cluster":
        """Connect with the pod's service account, or else the current kube context."""
        try:
            config.load_incluster_config()
        except config.ConfigException:
            await config.load_kube_config()
        return cls(client.ApiClient())

    async def close(self) -> None:
        await self.api.close()

    async def get(self, key: Key) -> Object | None:
        """The object, or nothing where there is none. Raises ``ApiError``."""
        try:
            return await self._json(
                self._client.get(
                    _resource(key.kind), name=key.name, namespace=key.namespace, serialize=False
                )
            )
        except NotFoundError:
            return None

    async def failed_mounts(self, pod: Mapping[str, Any]) -> list[Object]:
        """The kubelet's complaints about the pod's volumes. Raises ``ApiError``."""
        about = f"involvedObject.uid={pod['metadata']['uid']},reason=FailedMount"
        found = await self._json(
            self._client.get(
                _resource("Event"),
                namespace=pod["metadata"]["namespace"],
                field_selector=about,
                serialize=False,
            )
        )
        return list(found["items"])

    async def apply(self, obj: Object) -> Object:
        """Server-side apply; what others set beside it stays. Raises ``ApiError``."""
        return await self._json(
            self._client.server_side_apply(
                _resource(obj["kind"]),
                body=obj,
                field_manager=MANAGER,
                force_conflicts=True,
                serialize=False,
            )
        )

    async def groups(self) -> frozenset[str]:
        """The API groups that the cluster knows. Raises ``ApiError``."""
        found = await self._json(self._client.request("get", "/apis", serialize=False))
        return frozenset(group["name"] for group in found["groups"])

    async def hand_over_replicas(self, key: Key, replicas: int) -> None:
        """Have the Deployment's replicas owned beside this operator, so that they outlast it.

        Raises ``ApiError``.
        """
        group, version, _ = _KINDS[key.kind]
        await self._json(
            self._client.server_side_apply(
                _resource(key.kind),
                body={
                    "apiVersion": f"{group}/{version}",
                    "kind": key.kind,
                    "metadata": {"name": key.name, "namespace": key.namespace},
                    "spec": {"replicas": replicas},
                },
                field_manager=f"{MANAGER}-hand-over",
                force_conflicts=True,
                serialize=False,
            )
        )

    async def create_once(self, obj: Object) -> None:
        """Make the object; one of its name that is there stays as it is. Raises ``ApiError``."""
        try:
            await self._json(
                self._client.create(
                    _resource(obj["kind"]),
                    body=obj,
                    namespace=obj["metadata"]["namespace"],
                    field_manager=MANAGER,
                    serialize=False,
                )
            )
        except ConflictError:
            return

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status subresource. Raises ``ApiError``."""
        resource = _resource(obj["kind"])
        meta = obj["metadata"]
        path = resource.path(name=meta["name"], namespace=meta["namespace"])
        return await self._json(
            self._client.request(
                "patch",
                f"{path}/status",
                body=obj,
                content_type="application/apply-patch+yaml",
                field_manager=MANAGER,
                force_conflicts=True,
                serialize=False,
            )
        )

    async def delete(self, key: Key) -> None:
        """Delete the object and, in the background, what it owns; absence is fine."""
        try:
            await self._json(
                self._client.delete(
                    _resource(key.kind),
                    name=key.name,
                    namespace=key.namespace,
                    propagation_policy="Background",
                    serialize=False,
                )
            )
        except NotFoundError:
            return

    @staticmethod
    async def _json(call: Any) -> Object:
        response = await call
        found: Object = await response.json()
        return found
