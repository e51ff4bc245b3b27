"""Deployment: the pods that serve the model."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.accelerator import accelerator_of
from diffusion_operator.diffusionservice.specs.model_sources import fetches
from diffusion_operator.diffusionservice.specs.pod import serving_pod
from diffusion_operator.diffusionservice.specs.pod_template import with_pod_template
from diffusion_operator.diffusionservice.specs.ray_cluster import is_cluster
from diffusion_operator.diffusionservice.specs.server_container import startup_seconds
from diffusion_operator.kube.label_selector import labels, selector
from diffusion_operator.kube.metadata import changed, child, digest
from diffusion_operator.kube.objects import (
    REVISION_LABEL,
    ROLLED_BACK_ANNOTATION,
    SCALED_BY_ANNOTATION,
    SPEC_ANNOTATION,
    WORKER_LABEL,
    Object,
)
from diffusion_operator.settings import PodDefaults, Settings

# A pod needs this long for a node, its volumes and its image.
PLACEMENT_SECONDS = 60
# Ten gigabytes at three megabytes a second.
FETCH_SECONDS = 3600
# Strategies: one pod more, one less, or none during a rollout.
SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
IN_PLACE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
RECREATE = {"type": "Recreate"}


def deployment(owner: Mapping[str, Any], spec: DiffusionServiceSpec, settings: Settings) -> Object:
    """Deployment of a DiffusionService.

    Raises:
        SpecError: The spec can't be built.
    """
    pod = serving_pod(owner, spec, settings, accelerator_of(spec, settings))
    return child(
        owner,
        "Deployment",
        owner["metadata"]["name"],
        spec={
            "replicas": 0 if spec.suspend else spec.replicas,
            "selector": {"matchLabels": selector(owner)},
            "strategy": dict(SURGE),
            "progressDeadlineSeconds": ready_within(spec),
            "revisionHistoryLimit": 3,
            "template": template_of(owner, spec, settings, pod),
        },
    )


def patch_of(spec: DiffusionServiceSpec) -> Object:
    """Patch of ``spec.podTemplate``, as its author wrote it."""
    if spec.pod_template is None:
        return {}
    return spec.pod_template.model_dump(mode="json", by_alias=True, exclude_unset=True)


def template_of(
    owner: Mapping[str, Any], spec: DiffusionServiceSpec, settings: Settings, pod: Object
) -> Object:
    """Pod template with its revision as a label."""
    # The label distinguishes workers from pods that answer requests in metrics.
    worker = {WORKER_LABEL: owner["metadata"]["name"]} if is_cluster(spec) else {}
    built = {"metadata": {"labels": {**labels(owner), **worker}}, "spec": pod}
    if spec.pod_template is None and settings.pod_defaults == PodDefaults():
        template, revision = built, digest(pod)
    else:
        template = with_pod_template(built, settings.pod_defaults, patch_of(spec))
        revision = digest(template)
    metadata = template["metadata"]
    own_labels = {**metadata["labels"], REVISION_LABEL: revision}
    return {**template, "metadata": {**metadata, "labels": own_labels}}


def revision_of(built: Mapping[str, Any]) -> str:
    """Revision of a built or live Deployment's pod template."""
    template_labels = built["spec"]["template"]["metadata"].get("labels") or {}
    return str(template_labels.get(REVISION_LABEL, ""))


def ready_within(spec: DiffusionServiceSpec) -> int:
    """Seconds from a pod's creation within which it has to be ready."""
    fetching = FETCH_SECONDS if fetches(spec) else 0
    return startup_seconds(spec) + PLACEMENT_SECONDS + fetching


def in_place(built: Object) -> Object:
    """Copy of the Deployment whose rollout terminates an old pod before it starts a new one."""
    return changed(built, spec={**built["spec"], "strategy": dict(IN_PLACE)})


def desired_replicas(spec: DiffusionServiceSpec, current: int | None) -> int:
    """Desired replicas; an autoscaler has set ``current`` on the Deployment.

    The number is never below the autoscaler's minimum, even before it says so.
    """
    if spec.suspend:
        return 0
    if spec.autoscaling is None:
        return spec.replicas
    return max(int(current or 0), spec.autoscaling.min_replicas)


def scaled(built: Object, replicas: int | None, by: str = "") -> Object:
    """Copy of the Deployment with that many replicas, or without any for an autoscaler."""
    spec = {name: value for name, value in built["spec"].items() if name != "replicas"}
    if replicas is not None:
        return changed(built, spec={"replicas": replicas, **spec})
    return changed(built, {SCALED_BY_ANNOTATION: by}, spec=spec)


def with_template(built: Object, template: Mapping[str, Any], note: str) -> Object:
    """Copy of the Deployment with another revision's pods and a note on the failed one."""
    spec = {**built["spec"], "template": dict(template)}
    return changed(built, {ROLLED_BACK_ANNOTATION: note}, spec=spec)


def with_pods_of(built: Object, observed: Mapping[str, Any]) -> Object:
    """Copy of the Deployment with the live Deployment's pods and the mark of their spec."""
    mark = {SPEC_ANNOTATION: (observed["metadata"].get("annotations") or {}).get(SPEC_ANNOTATION)}
    return changed(built, mark, spec={**built["spec"], "template": observed["spec"]["template"]})


def kept(built: Object, observed: Mapping[str, Any]) -> Object:
    """Copy of the Deployment with the live pods, and with the note on a revision that failed."""
    note = (observed["metadata"].get("annotations") or {}).get(ROLLED_BACK_ANNOTATION)
    return changed(with_pods_of(built, observed), {ROLLED_BACK_ANNOTATION: note})


def settling(built: Object, seconds: int) -> Object:
    """Copy of the Deployment whose new pods have to stay ready for that long.

    The API server takes less than the time in which a rollout must make progress.
    """
    least = min(seconds, built["spec"]["progressDeadlineSeconds"] - 1)
    return changed(built, spec={**built["spec"], "minReadySeconds": least})
