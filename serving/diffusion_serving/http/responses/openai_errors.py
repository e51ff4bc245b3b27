"""Problems in the envelope of OpenAI's API, so that its clients raise fitting exceptions."""

import json
from collections.abc import Mapping

from diffusion_serving.http.responses.problems import (
    BLOCKED,
    INVALID,
    METHOD_NOT_ALLOWED,
    QUEUE_FULL,
    UNAUTHORIZED,
    Kind,
    Problem,
)

PREFIX = "/v1/"
"""The prefix of OpenAI's routes."""

_CODES: Mapping[Kind, str] = {
    BLOCKED: "content_policy_violation",
    INVALID: "invalid_value",
    UNAUTHORIZED: "invalid_api_key",
    QUEUE_FULL: "rate_limit_exceeded",
    METHOD_NOT_ALLOWED: "method_not_supported",
}
"""OpenAI's codes; the other kinds keep their own."""

_SERVER_ERROR = 500


def status_of(kind: Kind) -> int:
    """Returns the status of a kind: OpenAI answers 400 where a parameter is wrong."""
    return 400 if kind is INVALID else kind.status


def envelope(problem: Problem) -> tuple[int, bytes]:
    """Returns the status and the body of a problem."""
    error = {
        "message": problem.detail,
        "type": _type(problem.kind),
        "param": problem.errors[0].field or None if problem.errors else None,
        "code": problem.code or _CODES.get(problem.kind, problem.kind.slug.replace("-", "_")),
    }
    if problem.error_id is not None:
        error["error_id"] = problem.error_id
    return status_of(problem.kind), json.dumps({"error": error}).encode()


def _type(kind: Kind) -> str:
    if kind is QUEUE_FULL:
        return "requests"
    return "server_error" if kind.status >= _SERVER_ERROR else "invalid_request_error"
