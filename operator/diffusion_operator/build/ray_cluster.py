"""One Ray cluster out of many pods: a head that takes the requests, workers that hold the model."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build.metadata import child, labels
from diffusion_operator.build.server import CONTAINER
from diffusion_operator.objects import HEAD_LABEL, REVISION_LABEL, SERVICE_LABEL, Object

GCS_PORT = 6379
TOKEN_KEY = "token"  # noqa: S105 - a key's name
# Ray's own processes take the memory; the head holds no model.
HEAD_RESOURCES: Object = {"requests": {"cpu": "500m", "memory": "2Gi"}}


def is_cluster(spec: DiffusionServiceSpec) -> bool:
    """Whether the pods are one Ray cluster."""
    return spec.rayserve is not None and spec.rayserve.topology == "cluster"


def head_name(owner: Mapping[str, Any]) -> str:
    """Name of the head's Deployment and Service, and of the Secret with the cluster's token."""
    return f"{owner['metadata']['name']}-head"


def head_selector(owner: Mapping[str, Any]) -> dict[str, str]:
    """The labels that find the head's pod."""
    return {HEAD_LABEL: owner["metadata"]["name"]}


def with_role(owner: Mapping[str, Any], pod: Mapping[str, Any], role: str) -> Object:
    """The pod's spec, its server told of its part in the cluster."""
    head = f"{head_name(owner)}.{owner['metadata']['namespace']}.svc:{GCS_PORT}"
    token = {"secretKeyRef": {"name": head_name(owner), "key": TOKEN_KEY}}
    return with_variables(
        pod,
        [
            *role_variables(role),
            *([{"name": "DIFFUSION_RAY_HEAD", "value": head}] if role == "worker" else []),
            # Whoever may talk to Ray's own ports may run code in the cluster.
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": token},
        ],
    )


def role_variables(role: str) -> list[Object]:
    """What a server is told of its part in a cluster, whoever makes the pods."""
    address = {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}
    return [
        {"name": "DIFFUSION_RAY_ROLE", "value": role},
        {"name": "DIFFUSION_RAY_ADDRESS", "valueFrom": address},
    ]


def with_variables(pod: Mapping[str, Any], variables: Sequence[Object]) -> Object:
    """The pod's spec, its server with these variables, too."""
    return {
        **pod,
        "containers": [
            {**found, "env": [*found["env"], *variables]} if found["name"] == CONTAINER else found
            for found in pod["containers"]
        ],
    }


def head_deployment(
    owner: Mapping[str, Any],
    worker: Mapping[str, Any],
    pod: Mapping[str, Any],
) -> Object:
    """The head's Deployment, of the revision of the workers' and from the same ``pod``."""
    revision = worker["spec"]["template"]["metadata"]["labels"][REVISION_LABEL]
    within = worker["spec"]["progressDeadlineSeconds"]
    return child(
        owner,
        "apps/v1",
        "Deployment",
        head_name(owner),
        spec={
            # A head without workers would only take up room.
            "replicas": min(1, worker["spec"]["replicas"]),
            "selector": {"matchLabels": head_selector(owner)},
            # Two heads at once would be two clusters.
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": within,
            "revisionHistoryLimit": 3,
            "template": head_template(
                owner, revision, with_role(owner, head_pod(pod, within), "head")
            ),
        },
    )


def head_template(owner: Mapping[str, Any], revision: str, pod: Mapping[str, Any]) -> Object:
    """The template of a head's pod, which no selector of the workers' finds."""
    own = {name: value for name, value in labels(owner).items() if name != SERVICE_LABEL}
    found = {**own, **head_selector(owner), REVISION_LABEL: revision}
    return {"metadata": {"labels": found}, "spec": dict(pod)}


def head_pod(pod: Mapping[str, Any], within: int) -> Object:
    """The pod without the model, its GPU, and what both need to be placed.

    It is ready once a worker is, which may take so many seconds.
    """
    (server,) = pod["containers"]
    placed = (
        *("initContainers", "nodeSelector", "affinity"),
        *("tolerations", "topologySpreadConstraints"),
    )
    return {
        **{field: value for field, value in pod.items() if field not in placed},
        "containers": [
            {
                **server,
                "resources": HEAD_RESOURCES,
                "startupProbe": {**server["startupProbe"], "failureThreshold": within},
                "volumeMounts": [m for m in server["volumeMounts"] if not _of_model(m)],
            }
        ],
        "volumes": [volume for volume in pod["volumes"] if not _of_model(volume)],
    }


def _of_model(volume_or_mount: Mapping[str, Any]) -> bool:
    return volume_or_mount["name"].partition("-")[0] in {"model", "store", "credentials"}


def head_service(owner: Mapping[str, Any]) -> Object:
    """The headless Service by which workers find the head, also before it is ready."""
    port = {"name": "gcs", "port": GCS_PORT, "protocol": "TCP", "targetPort": GCS_PORT}
    return child(
        owner,
        "v1",
        "Service",
        head_name(owner),
        spec={
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": head_selector(owner),
            "ports": [port],
        },
    )


def token_secret(owner: Mapping[str, Any], token: str) -> Object:
    """The Secret that keeps others out of the cluster's own traffic."""
    return child(
        owner, "v1", "Secret", head_name(owner), type="Opaque", stringData={TOKEN_KEY: token}
    )
