"""Deployment: the pods that serve the model."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build.accelerator import accelerator_of
from diffusion_operator.build.metadata import changed, child, digest, labels, selector
from diffusion_operator.build.pod import serving_pod
from diffusion_operator.build.pod_template import with_pod_template
from diffusion_operator.build.ray_cluster import head_deployment, is_cluster, with_role
from diffusion_operator.build.server import startup_seconds
from diffusion_operator.build.sources import fetches
from diffusion_operator.objects import (
    REVISION_LABEL,
    ROLLED_BACK_ANNOTATION,
    SCALED_BY_ANNOTATION,
    WORKER_LABEL,
    Object,
)
from diffusion_operator.settings import Settings

# What a pod needs beside its start: a node, its volumes, its image.
PLACEMENT_SECONDS = 60
# Ten gigabytes at three megabytes a second.
FETCH_SECONDS = 3600
# How a rollout goes on: one pod more for a while, one less for a while, or none for a while.
SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
IN_PLACE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
RECREATE = {"type": "Recreate"}


def deployments(
    owner: Mapping[str, Any],
    spec: DiffusionServiceSpec,
    settings: Settings,
) -> list[Object]:
    """The Deployments of a DiffusionService, that of the model first. Raises ``BuildError``."""
    accelerator = accelerator_of(spec, settings)
    pod = serving_pod(owner, spec, settings, accelerator)
    if not is_cluster(spec):
        return [_deployment(owner, spec, pod, SURGE)]
    # The workers of one revision can't join the head of another.
    workers = _deployment(owner, spec, with_role(owner, pod, "worker"), RECREATE)
    return [workers, head_deployment(owner, workers, pod)]


def _deployment(
    owner: Mapping[str, Any],
    spec: DiffusionServiceSpec,
    pod: Object,
    strategy: Mapping[str, Any],
) -> Object:
    return child(
        owner,
        "apps/v1",
        "Deployment",
        owner["metadata"]["name"],
        spec={
            "replicas": 0 if spec.suspend else spec.replicas,
            "selector": {"matchLabels": selector(owner)},
            "strategy": dict(strategy),
            "progressDeadlineSeconds": ready_within(spec),
            "revisionHistoryLimit": 3,
            "template": template_of(owner, spec, pod),
        },
    )


def template_of(owner: Mapping[str, Any], spec: DiffusionServiceSpec, pod: Object) -> Object:
    """The pod template, labelled with the revision that it is."""
    # By it who scrapes tells them from pods that answer themselves.
    worker = {WORKER_LABEL: owner["metadata"]["name"]} if is_cluster(spec) else {}
    built = {"metadata": {"labels": {**labels(owner), **worker}}, "spec": pod}
    if spec.pod_template is None:
        template, revision = built, digest(pod)
    else:
        patch = spec.pod_template.model_dump(mode="json", by_alias=True, exclude_unset=True)
        template = with_pod_template(built, patch)
        revision = digest(template)
    metadata = template["metadata"]
    own_labels = {**metadata["labels"], REVISION_LABEL: revision}
    return {**template, "metadata": {**metadata, "labels": own_labels}}


def revision_of(built: Mapping[str, Any]) -> str:
    """The revision that a built or live Deployment asks for."""
    template_labels = built["spec"]["template"]["metadata"].get("labels") or {}
    return str(template_labels.get(REVISION_LABEL, ""))


def ready_within(spec: DiffusionServiceSpec) -> int:
    """The seconds that a pod may take from its making until it is ready."""
    fetching = FETCH_SECONDS if fetches(spec.model) else 0
    return startup_seconds(spec) + PLACEMENT_SECONDS + fetching


def in_place(built: Object) -> Object:
    """The Deployment with a rollout that ends an old pod before it starts a new one."""
    return changed(built, spec={**built["spec"], "strategy": dict(IN_PLACE)})


def scaled(built: Object, replicas: int | None, by: str = "") -> Object:
    """The Deployment with so many replicas, or with none said, which leaves them to someone."""
    spec = {name: value for name, value in built["spec"].items() if name != "replicas"}
    if replicas is not None:
        return changed(built, spec={"replicas": replicas, **spec})
    return changed(built, {SCALED_BY_ANNOTATION: by}, spec=spec)


def with_template(built: Object, template: Mapping[str, Any], note: str) -> Object:
    """The Deployment with the pods of another revision, and a note on the one that failed."""
    spec = {**built["spec"], "template": dict(template)}
    return changed(built, {ROLLED_BACK_ANNOTATION: note}, spec=spec)


def with_pods_of(built: Object, live: Mapping[str, Any]) -> Object:
    """The Deployment with the pods that the live one has."""
    return changed(built, spec={**built["spec"], "template": live["spec"]["template"]})


def is_in_place(deployment: Mapping[str, Any]) -> bool:
    """Whether a rollout of the Deployment ends an old pod before it starts a new one."""
    strategy = deployment["spec"].get("strategy") or {}
    return (strategy.get("rollingUpdate") or {}).get("maxSurge") == 0


def is_recreated(deployment: Mapping[str, Any]) -> bool:
    """Whether a rollout of the Deployment ends all old pods before it starts a new one."""
    return bool((deployment["spec"].get("strategy") or {}).get("type") == "Recreate")
