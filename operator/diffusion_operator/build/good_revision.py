"""ControllerRevision: the pods of the last revision that served, to go back to."""

from collections.abc import Iterable, Mapping
from typing import Any

from diffusion_operator.build.deployment import revision_of
from diffusion_operator.build.metadata import child
from diffusion_operator.objects import REVISION_LABEL, Object, labels_of


def good_revision(owner: Mapping[str, Any], live: Iterable[Object], number: int) -> Object:
    """Keeps the pod templates of the live Deployments, that of the model first."""
    deployments = list(live)
    revision = revision_of(deployments[0])
    templates = {found["metadata"]["name"]: found["spec"]["template"] for found in deployments}
    return child(
        owner,
        "apps/v1",
        "ControllerRevision",
        f"{owner['metadata']['name']}-{revision}",
        more_labels={REVISION_LABEL: revision},
        revision=number,
        data={"templates": templates},
    )


def kept_revision(good: Mapping[str, Any]) -> str:
    """The revision whose pods it keeps."""
    return labels_of(good).get(REVISION_LABEL, "")


def kept_templates(good: Mapping[str, Any]) -> Mapping[str, Object]:
    """The pod template of each Deployment, by its name."""
    found: Mapping[str, Object] = good["data"]["templates"]
    return found


def kept_claims(good: Mapping[str, Any]) -> set[str]:
    """The PersistentVolumeClaims that the kept pods mount."""
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for template in kept_templates(good).values()
        for volume in template["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
