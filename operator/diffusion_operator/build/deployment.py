"""Deployment: the pods that serve the model."""

import math
from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import seconds
from diffusion_operator.build.accelerator import accelerator_of
from diffusion_operator.build.metadata import child, digest, labels, selector
from diffusion_operator.build.pods import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    SCRATCH_MOUNT,
    SCRATCH_VOLUME,
    resources,
)
from diffusion_operator.build.serving_config import CLAIM_MOUNT, model_claim, serving_config
from diffusion_operator.objects import REVISION_LABEL, Object
from diffusion_operator.settings import Accelerator, Settings

PORT = 8000
CONTAINER = "server"

# The endpoints of a pod that ends are gone from every node well within this time.
DRAIN_SECONDS = 5
# A request that has begun ends within this time even at many steps on a CPU.
LONGEST_REQUEST_SECONDS = 60
# Twenty minutes cover a large model from a slow volume.
STARTUP_PROBE = {"periodSeconds": 1, "failureThreshold": 1200, "timeoutSeconds": 5}
PROGRESS_DEADLINE_SECONDS = 1260


def deployment(owner: Mapping[str, Any], spec: DiffusionServiceSpec, settings: Settings) -> Object:
    """The Deployment of a DiffusionService. Raises ``BuildError``."""
    accelerator = accelerator_of(spec, settings)
    pod = _pod(owner, spec, settings, accelerator)
    revision = digest(pod)
    return child(
        owner,
        "apps/v1",
        "Deployment",
        owner["metadata"]["name"],
        spec={
            "replicas": spec.replicas,
            "selector": {"matchLabels": selector(owner)},
            "strategy": _strategy(accelerator),
            "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS,
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {"labels": {**labels(owner), REVISION_LABEL: revision}},
                "spec": pod,
            },
        },
    )


def revision_of(built: Mapping[str, Any]) -> str:
    """The revision that a built or live Deployment asks for."""
    template_labels = built["spec"]["template"]["metadata"].get("labels") or {}
    return str(template_labels.get(REVISION_LABEL, ""))


def _strategy(accelerator: Accelerator | None) -> Object:
    # A GPU is rarely spare, and a surge pod that waits for one would block the rollout for ever.
    surge, unavailable = (0, 1) if accelerator else (1, 0)
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable},
    }


def _pod(
    owner: Mapping[str, Any],
    spec: DiffusionServiceSpec,
    settings: Settings,
    accelerator: Accelerator | None,
) -> Object:
    claim = model_claim(spec.model.source)
    grace = DRAIN_SECONDS + seconds(spec.queue.timeout) + LONGEST_REQUEST_SECONDS
    pod: Object = {
        "serviceAccountName": owner["metadata"]["name"],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(grace),
        "securityContext": POD_SECURITY,
        "containers": [_server(owner, spec, settings, accelerator, mounts_claim=bool(claim))],
        "volumes": [SCRATCH_VOLUME],
    }
    if claim:
        volume = {"claimName": claim, "readOnly": True}
        pod["volumes"] = [*pod["volumes"], {"name": "model", "persistentVolumeClaim": volume}]
    if accelerator and accelerator.node_selector:
        pod["nodeSelector"] = dict(accelerator.node_selector)
    if accelerator and accelerator.tolerations:
        pod["tolerations"] = [dict(toleration) for toleration in accelerator.tolerations]
    return pod


def _server(
    owner: Mapping[str, Any],
    spec: DiffusionServiceSpec,
    settings: Settings,
    accelerator: Accelerator | None,
    *,
    mounts_claim: bool,
) -> Object:
    mounts = [SCRATCH_MOUNT]
    if mounts_claim:
        mounts = [*mounts, {"name": "model", "mountPath": CLAIM_MOUNT, "readOnly": True}]
    config = serving_config(spec, accelerator).model_dump_json(by_alias=True)
    revision = {
        "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{REVISION_LABEL}']"}
    }
    return {
        "name": CONTAINER,
        "image": settings.images.backends[spec.backend],
        "imagePullPolicy": settings.images.pull_policy,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": [
            {"name": "DIFFUSION_SERVING_CONFIG", "value": config},
            {"name": "DIFFUSION_SERVICE", "value": owner["metadata"]["name"]},
            {"name": "DIFFUSION_REVISION", "valueFrom": revision},
        ],
        "resources": resources(
            settings.server_resources, {accelerator.resource_name: "1"} if accelerator else None
        ),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts,
        "startupProbe": {"httpGet": {"path": "/readyz", "port": "http"}, **STARTUP_PROBE},
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
    }
