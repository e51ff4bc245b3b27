"""Last-good revision: a ControllerRevision with the pod templates to roll back to."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import REVISION_LABEL, Object, labels_of


def good_revision(owner: Mapping[str, Any], observed: Object, number: int) -> Object:
    """ControllerRevision with the pod template of the live Deployment."""
    revision = revision_of(observed)
    templates = {observed["metadata"]["name"]: observed["spec"]["template"]}
    return child(
        owner,
        "ControllerRevision",
        f"{owner['metadata']['name']}-{revision}",
        more_labels={REVISION_LABEL: revision},
        revision=number,
        data={"templates": templates},
    )


def kept_revision(good: Mapping[str, Any]) -> str:
    """Revision of the kept pod templates."""
    return labels_of(good).get(REVISION_LABEL, "")


def kept_templates(good: Mapping[str, Any]) -> Mapping[str, Object]:
    """Kept pod templates by Deployment name."""
    templates: Mapping[str, Object] = good["data"]["templates"]
    return templates


def kept_claims(good: Mapping[str, Any]) -> set[str]:
    """Names of the claims that the kept pods mount."""
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for template in kept_templates(good).values()
        for volume in template["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
