"""What to tell a person whose spec this operator can't read."""

from http import HTTPStatus

from pydantic import ValidationError

from diffusion_operator.cluster import ApiError, said_by, unknown_group
from diffusion_operator.status.diffusionservice import Problem

# What an optional child's kind is of, and what to do where the cluster lacks it.
_LACKING = {
    "gateway.networking.k8s.io": (
        "the cluster doesn't know the Gateway API: install its CRDs, or use "
        "route.ingressClassName instead of route.gatewayRef"
    ),
    "ray.io": (
        "the cluster knows ray.io/v1 but no RayService: install all of KubeRay's CRDs, or use "
        "rayserve.topology: pods"
    ),
    "keda.sh": "the cluster knows KEDA no longer, or only a part of it: install all of its CRDs",
}
# A field that the kind doesn't have or a value of another type, which the API server finds only
# when it merges what is applied into what is there, and calls an error of its own.
_NOT_OF_THE_SCHEMA = ("field not declared in schema", "failed to create typed patch object")


def mistakes(error: ValidationError, within: str) -> str:
    """The first mistakes in a sentence, ``within`` the field they are in."""
    return "; ".join(
        f"{within}.{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"
        for found in error.errors()[:3]
    )


def invalid_spec(error: ValidationError) -> str:
    """What is wrong; seen when the CRD and the operator differ in age."""
    return f"{mistakes(error, 'spec')} (are the CRDs and the operator of the same version?)"


def refusal(error: ApiError) -> Problem:
    """What the API server refuses for good, as the reason to give.

    Raises the error again where trying again is what helps.
    """
    message = said_by(error)
    if ".authOptions: field not declared in schema" in message:
        return Problem(
            "KubeRayTooOld",
            "the installed KubeRay knows no tokens, without which anyone who reaches a Ray cluster "
            "may run code in it: update KubeRay to 1.5 or newer, CRDs too, or use "
            "rayserve.topology: pods",
        )
    if error.status == HTTPStatus.FORBIDDEN and is_refusal(error):
        return Problem("QuotaExceeded" if "exceeded quota" in message else "Forbidden", message)
    if error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
        return Problem("Refused", message)
    if _is_not_of_the_schema(error):
        return Problem("Refused", message)
    group = unknown_group(error)
    if group is not None:
        what = f"the cluster doesn't know a kind of {group}: install all of its CRDs"
        return Problem("KindNotInstalled", _LACKING.get(group, what))
    raise error


def _is_not_of_the_schema(error: ApiError) -> bool:
    return any(part in said_by(error) for part in _NOT_OF_THE_SCHEMA)


# What an API server says that hasn't read a new kind or quota itself yet; it soon has.
_NOT_YET = ("cannot find RESTMapping", "status unknown for quota")


def is_refusal(error: ApiError) -> bool:
    """Whether the API server will answer the same to a second try."""
    passing = error.status in {409, 429} or any(part in said_by(error) for part in _NOT_YET)
    own_fault = error.status in range(400, 500) or _is_not_of_the_schema(error)
    return own_fault and not passing
