"""Ray cluster over several pods: a head takes requests, workers hold the model."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.server_container import CONTAINER
from diffusion_operator.kube.label_selector import labels
from diffusion_operator.kube.objects import HEAD_LABEL, REVISION_LABEL, SERVICE_LABEL, Object
from diffusion_operator.kube.pod_template import guard_labels, patched, removed, with_defaults
from diffusion_operator.settings import PodDefaults

GCS_PORT = 6379
# Ray's own processes use the memory; the head holds no model.
HEAD_RESOURCES: Object = {"requests": {"cpu": "500m", "memory": "2Gi"}}


def is_cluster(spec: DiffusionServiceSpec) -> bool:
    """Whether the pods are one Ray cluster."""
    return spec.rayserve is not None and spec.rayserve.topology == "cluster"


def former_head_name(owner: Mapping[str, Any]) -> str:
    """Name of the head's Deployment and Service in releases that made a cluster themselves."""
    return f"{owner['metadata']['name']}-head"


def head_selector(owner: Mapping[str, Any]) -> dict[str, str]:
    """Label selector of the head's pod."""
    return {HEAD_LABEL: owner["metadata"]["name"]}


def role_variables(role: str) -> list[Object]:
    """Environment variables of a server's role in the cluster."""
    address = {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}
    return [
        {"name": "DIFFUSION_RAY_ROLE", "value": role},
        {"name": "DIFFUSION_RAY_ADDRESS", "valueFrom": address},
    ]


def with_variables(pod: Mapping[str, Any], variables: Sequence[Object]) -> Object:
    """Pod spec whose server has these variables, too."""
    return {
        **pod,
        "containers": [
            {**each, "env": [*each["env"], *variables]} if each["name"] == CONTAINER else each
            for each in pod["containers"]
        ],
    }


def head_template(owner: Mapping[str, Any], revision: str, pod: Mapping[str, Any]) -> Object:
    """Pod template of a head, which the workers' selector doesn't match."""
    own = {name: value for name, value in labels(owner).items() if name != SERVICE_LABEL}
    own_labels = {**own, **head_selector(owner), REVISION_LABEL: revision}
    return {"metadata": {"labels": own_labels}, "spec": dict(pod)}


def head_pod(pod: Mapping[str, Any], within: int) -> Object:
    """Pod spec of the head: no model, no GPU, no placement rules.

    The head is ready once a worker is, which may take ``within`` seconds.
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


def with_head_template(head: Object, defaults: PodDefaults, patch: Mapping[str, Any]) -> Object:
    """Head's pod template with ``podTemplate``, but for the resources of the server.

    Raises:
        SpecError: The patch would cut the head off from its cluster.
    """
    spec = patch.get("spec") or {}
    if "containers" in spec:
        spec = {**spec, "containers": [_of_head(each) for each in spec["containers"]]}
    # A path that only the workers have is none of the head's.
    rest = {name: value for name, value in patch.items() if name not in {"spec", "remove"}}
    own = {**rest, **({"spec": spec} if spec else {})}
    merged = removed(patched(with_defaults(head, defaults), own), patch.get("remove") or ())
    guard_labels(head, merged)
    return merged


def _of_head(container: Mapping[str, Any]) -> Object:
    if container.get("name") != CONTAINER:
        return dict(container)
    return {name: value for name, value in container.items() if name != "resources"}


def _of_model(volume_or_mount: Mapping[str, Any]) -> bool:
    return volume_or_mount["name"].partition("-")[0] in {"model", "store", "credentials"}
