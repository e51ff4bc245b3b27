"""Problems that keep a spec from coming true, each with a reason and a sentence for people."""

from dataclasses import dataclass
from http import HTTPStatus

from pydantic import ValidationError

from diffusion_operator.kube.client import ApiError, message_of, unknown_group
from diffusion_operator.kube.objects import Key


@dataclass(frozen=True)
class Problem:
    """Cause that keeps the children from being as the spec says."""

    reason: str
    message: str
    passes: bool = False
    """Whether the problem resolves itself."""


class SpecError(Exception):
    """Error of a spec that no child can satisfy; its message says what to write instead."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


# API group of an optional child's kind, and advice where the cluster lacks it.
_LACKING = {
    "gateway.networking.k8s.io": (
        "the cluster doesn't know the Gateway API: install its CRDs, or use "
        "route.ingressClassName instead of route.gatewayRef"
    ),
    "ray.io": (
        "the cluster knows ray.io/v1 but no RayService: install all of KubeRay's CRDs, or use "
        "rayserve.topology: pods"
    ),
    "keda.sh": "the cluster no longer serves KEDA, or only a part of it: install all of its CRDs",
}
# The API server detects an unknown field or a wrong type while it merges, and reports it as its own
# error.
_NOT_OF_THE_SCHEMA = ("field not declared in schema", "failed to create typed patch object")


def validation_message(error: ValidationError, within: str) -> str:
    """First validation errors in a sentence; ``within`` is the field that contains them."""
    return "; ".join(
        f"{within}.{'.'.join(str(part) for part in each['loc'])}: {each['msg']}"
        for each in error.errors()[:3]
    )


def invalid_spec(error: ValidationError) -> str:
    """Message for a spec that doesn't validate, which happens when CRD and operator differ in
    version.
    """
    return (
        f"{validation_message(error, 'spec')} (are the CRDs and the operator of the same version?)"
    )


def refusal(error: ApiError) -> Problem:
    """Problem for a permanent refusal of the API server.

    Raises:
        ApiError: The same error, where a retry may help.
    """
    message = message_of(error)
    if ".authOptions: field not declared in schema" in message:
        return Problem(
            "KubeRayTooOld",
            "the installed KubeRay doesn't support tokens, without which "
            "anyone who reaches a Ray cluster "
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
    return any(part in message_of(error) for part in _NOT_OF_THE_SCHEMA)


# Failures in a row that are worth a word in the status: some six seconds of retries.
_LASTING = 6
# The API server answers so until it has read a new kind or quota.
_NOT_YET = ("cannot find RESTMapping", "status unknown for quota")


class LastingFailures:
    """Failures that retries haven't ended, counted by key until the next success."""

    def __init__(self) -> None:
        self._counts: dict[Key, int] = {}

    def add(self, key: Key, error: ApiError) -> Problem | None:
        """Count a failure, and return the problem that it is once it has lasted."""
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] < _LASTING:
            return None
        message = f"the API server answers {error.status} again and again: {message_of(error)}"
        return Problem("Blocked", message, passes=True)

    def clear(self, key: Key) -> None:
        """Note a success, or the end of the resource."""
        self._counts.pop(key, None)


def is_passing(error: ApiError) -> bool:
    """Whether the error ends by itself soon, in the ordinary run of things."""
    not_yet = any(part in message_of(error) for part in _NOT_YET)
    return error.status in {409, 429} or not_yet


def is_refusal(error: ApiError) -> bool:
    """Whether a retry would get the same refusal."""
    own_fault = error.status in range(400, 500) or _is_not_of_the_schema(error)
    return own_fault and not is_passing(error)
