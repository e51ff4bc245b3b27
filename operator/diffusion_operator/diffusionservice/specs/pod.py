"""Serving pod: the pod spec, whichever workload owns it."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.grace import grace_period
from diffusion_operator.diffusionservice.specs.model_fetch import fetch_containers, fetch_volumes
from diffusion_operator.diffusionservice.specs.model_sources import claims_of
from diffusion_operator.diffusionservice.specs.server_container import (
    API_KEY_VOLUME,
    CREDENTIALS_VOLUME,
    SHARED_MEMORY,
    claim_volume_name,
    gpu_claims,
    server,
)
from diffusion_operator.diffusionservice.specs.serving_config import (
    API_KEY_FILE,
    CERTIFICATE_KEY,
    PRIVATE_KEY_KEY,
)
from diffusion_operator.kube.label_selector import selector
from diffusion_operator.kube.objects import Object
from diffusion_operator.kube.pod_security import POD_SECURITY, SCRATCH_VOLUME
from diffusion_operator.settings import Accelerator, Settings

SPREAD_OVER = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")


def serving_pod(
    owner: Mapping[str, Any],
    spec: DiffusionServiceSpec,
    settings: Settings,
    accelerator: Accelerator | None,
) -> Object:
    """Pod spec of a serving pod.

    Raises:
        SpecError: The spec can't be built.
    """
    pod: Object = {
        "serviceAccountName": owner["metadata"]["name"],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_period(spec, accelerator).pod,
        "securityContext": POD_SECURITY,
        "containers": [server(owner, spec, settings, accelerator)],
        "volumes": [SCRATCH_VOLUME, *_volumes(owner, spec)],
        "topologySpreadConstraints": [_spread(owner, key) for key in SPREAD_OVER],
    }
    first = fetch_containers(spec, settings)
    if first:
        pod["initContainers"] = first
    if accelerator and accelerator.node_selector:
        pod["nodeSelector"] = dict(accelerator.node_selector)
    if accelerator and accelerator.node_labels:
        pod["affinity"] = {"nodeAffinity": _on_one_of(accelerator.node_labels)}
    if accelerator and accelerator.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in accelerator.tolerations]
    if accelerator and accelerator.runtime_class_name:
        pod["runtimeClassName"] = accelerator.runtime_class_name
    if accelerator and accelerator.resource_claim_template:
        template = {"resourceClaimTemplateName": accelerator.resource_claim_template}
        pod["resourceClaims"] = [{"name": name, **template} for name in gpu_claims(spec)]
    return pod


def _on_one_of(node_labels: Sequence[Mapping[str, str]]) -> Object:
    """Node affinity to any of the label sets."""
    terms = [
        {
            "matchExpressions": [
                {"key": key, "operator": "In", "values": [value]} for key, value in labels.items()
            ]
        }
        for labels in node_labels
    ]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def _spread(owner: Mapping[str, Any], topology_key: str) -> Object:
    """Spread constraint for the replicas of one revision."""
    return {
        "maxSkew": 1,
        "topologyKey": topology_key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(owner)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _volumes(owner: Mapping[str, Any], spec: DiffusionServiceSpec) -> list[Object]:
    claims = claims_of(spec)
    volumes: list[Object] = [
        {
            "name": claim_volume_name(claims, claim),
            "persistentVolumeClaim": {"claimName": claim, "readOnly": True},
        }
        for claim in claims
    ]
    volumes += fetch_volumes(owner, spec)
    if spec.auth:
        ref = spec.auth.api_key_secret_ref
        items = [{"key": ref.key, "path": API_KEY_FILE}]
        # The kubelet updates a volume in a running pod, a variable not.
        volumes.append({"name": API_KEY_VOLUME, "secret": {"secretName": ref.name, "items": items}})
    if credentials := spec.provenance.content_credentials:
        items = [{"key": key, "path": key} for key in (CERTIFICATE_KEY, PRIVATE_KEY_KEY)]
        secret = {"secretName": credentials.certificate_secret_ref.name, "items": items}
        volumes.append({"name": CREDENTIALS_VOLUME, "secret": secret})
    if spec.backend == "rayserve":
        volumes.append(SHARED_MEMORY)
    return volumes


def has_volumes_of_others(template: Mapping[str, Any]) -> bool:
    """Whether the pods mount objects that someone else creates."""
    volumes = template["spec"].get("volumes") or ()
    return any(
        kind in volume
        for volume in volumes
        for kind in ("secret", "configMap", "projected", "persistentVolumeClaim")
    )
