"""Labels and annotations of children, beside the operator's own."""

from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.service import service as build_service
from diffusion_operator.kube.metadata import dressed
from diffusion_operator.settings import ChildMetadata

Object = dict[str, Any]


def test_children_get_the_settings_labels_and_those_of_their_owner_that_are_named(
    service: Object,
) -> None:
    built = build_service(service, DiffusionServiceSpec.model_validate(service["spec"]))
    service["metadata"]["labels"]["team"] = "vision"
    service["metadata"]["annotations"] = {"owner": "me", "other": "x"}
    more = ChildMetadata(
        labels={"cost": "ml", "diffusion.dev/service": "other"},
        annotations={"mesh": "off"},
        copy_labels=("team", "absent"),
        copy_annotations=("owner",),
    )
    made = dressed(service, built, more)["metadata"]
    assert made["labels"] == {**built["metadata"]["labels"], "cost": "ml", "team": "vision"}
    digest = "diffusion.dev/applied-digest"
    assert {**made["annotations"], digest: ""} == {"mesh": "off", "owner": "me", digest: ""}
    assert made["annotations"][digest] != built["metadata"]["annotations"][digest]
    assert dressed(service, built, ChildMetadata()) is built
