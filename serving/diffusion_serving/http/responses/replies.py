"""Whole HTTP responses, without a framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from diffusion_serving.http.responses import openai_errors
from diffusion_serving.http.responses.problems import MEDIA_TYPE, Problem

JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """A whole HTTP response."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_reply(problem: Problem) -> Reply:
    """Returns the reply with a problem document."""
    return Reply(problem.kind.status, problem.body(), MEDIA_TYPE, problem.headers)


def refusal(path: str, problem: Problem) -> Reply:
    """Returns the reply with a problem, in the format of the path's API."""
    if path.startswith(openai_errors.PREFIX):
        status, body = openai_errors.envelope(problem)
        return Reply(status, body, headers=problem.headers)
    return problem_reply(problem)
