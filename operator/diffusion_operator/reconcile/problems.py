"""What to tell a person whose spec this operator can't read."""

from http import HTTPStatus

from pydantic import ValidationError

from diffusion_operator.cluster import ApiError, said_by
from diffusion_operator.status.diffusionservice import Problem


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
    if error.status == HTTPStatus.NOT_FOUND and "page not found" in message:
        return Problem(
            "KindNotInstalled",
            "the cluster doesn't know the Gateway API: install its CRDs, or use "
            "route.ingressClassName instead of route.gatewayRef",
        )
    raise error


# What an API server says that hasn't read a new kind or quota itself yet; it soon has.
_NOT_YET = ("cannot find RESTMapping", "status unknown for quota")


def is_refusal(error: ApiError) -> bool:
    """Whether the API server will answer the same to a second try."""
    passing = error.status in {409, 429} or any(part in said_by(error) for part in _NOT_YET)
    return error.status in range(400, 500) and not passing
