"""Errors of the API server: refusals for good, and errors that are tried again."""

import json

import pytest

from diffusion_operator.kube.client import ApiError
from diffusion_operator.kube.problems import is_refusal, refusal

NEW_KIND = (
    'diffusionservices.diffusion.dev "study-slow" is forbidden: cannot set blockOwnerDeletion in '
    "this case because cannot find RESTMapping for APIVersion diffusion.dev/v1alpha1 Kind "
    'Comparison: no matches for kind "Comparison" in version "diffusion.dev/v1alpha1"'
)
NEW_QUOTA = (
    'loadtests.diffusion.dev "a" is forbidden: status unknown for quota: few, resources: pods'
)

# The API server's messages when it merges a patch into an existing object, instead of creating
# a new one.
TYPED = "failed to create typed patch object (shop/demo; apps/v1, Kind=Deployment): "
UNKNOWN_FIELD = f"{TYPED}.spec.template.spec.nodeNam: field not declared in schema"
OTHER_TYPE = f"{TYPED}.spec.template.spec.nodeName: expected string, got &value.valueUnstructured"


def answer(status: int, message: str) -> ApiError:
    return ApiError(status, "", json.dumps({"message": message}), None)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "admission webhook denied the request"),
        (403, "exceeded quota: few, requested: count/diffusionservices.diffusion.dev=1"),
        (422, "spec.replicas: Invalid value: -1"),
        (500, UNKNOWN_FIELD),
        (500, OTHER_TYPE),
    ],
)
def test_an_error_that_a_retry_would_repeat_is_a_refusal(status: int, message: str) -> None:
    assert is_refusal(answer(status, message))


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, NEW_KIND),
        (403, NEW_QUOTA),
        (409, "the object has been modified"),
        (429, "too many requests"),
        (500, "etcdserver: request timed out"),
    ],
)
def test_an_error_that_passes_is_no_refusal(status: int, message: str) -> None:
    assert not is_refusal(answer(status, message))


@pytest.mark.parametrize("message", [NEW_KIND, NEW_QUOTA])
def test_an_error_that_passes_is_raised_again(message: str) -> None:
    with pytest.raises(ApiError):
        refusal(answer(403, message))


def test_a_refusal_has_its_reason() -> None:
    assert refusal(answer(403, "admission webhook denied the request")).reason == "Forbidden"
    assert refusal(answer(403, "exceeded quota: few")).reason == "QuotaExceeded"


@pytest.mark.parametrize("message", [UNKNOWN_FIELD, OTHER_TYPE])
def test_a_field_that_the_existing_object_cannot_take_is_reported(message: str) -> None:
    problem = refusal(answer(500, message))
    assert (problem.reason, problem.message) == ("Refused", message)
