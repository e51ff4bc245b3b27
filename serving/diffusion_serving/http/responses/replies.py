"""Whole HTTP answers, without a framework."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from diffusion_serving.http.responses import openai_errors
from diffusion_serving.http.responses.problems import MEDIA_TYPE, Problem

JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_reply(problem: Problem) -> Reply:
    """The problem document."""
    return Reply(problem.kind.status, problem.body(), MEDIA_TYPE, problem.headers)


def refusal(path: str, problem: Problem) -> Reply:
    """The problem in the words that clients of this path understand."""
    if path.startswith(openai_errors.PREFIX):
        status, body = openai_errors.envelope(problem)
        return Reply(status, body, headers=problem.headers)
    return problem_reply(problem)
