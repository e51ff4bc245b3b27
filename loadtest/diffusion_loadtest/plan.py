"""The load plan: what to send where, for how long, by how many users."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from .documents import Document, VersionedDocument

PLAN_VARIABLE = "DIFFUSION_LOAD_PLAN"

Name = Annotated[str, Field(min_length=1, max_length=253)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Prompt = Annotated[str, Field(min_length=1, max_length=10_000)]


class PlanError(ValueError):
    """The load plan cannot be carried out; the message is a sentence that says what to change."""


class Test(Document):
    """Which test this is; `run` tells one run of it from another."""

    __test__ = False  # the name of this class looks like a test to pytest

    name: Name
    namespace: Name
    run: Name


class Target(Document):
    """The server's address, with the scheme and without `/predict`."""

    url: Annotated[str, Field(max_length=2048)]

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number
            usable = False
        if not usable:
            raise ValueError("write it as http://HOST or http://HOST:PORT, or with https://")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("leave out user, query and fragment: the address alone is used")
        return url.rstrip("/")


class Stage(Document):
    """So many users for so long; the ramp from the stage before is part of the time."""

    users: Annotated[int, Field(ge=1, le=100_000)]
    duration_seconds: Annotated[float, Field(gt=0, le=7 * 86_400)]


class Users(Document):
    """The closed loop: each user sends its next request when the answer to the last has come.

    `spawn_rate` is the number of users that start, or stop, per second.
    """

    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=100)]
    spawn_rate: Annotated[float, Field(gt=0, le=10_000)]


class Think(Document):
    """A user's pause between an answer and its next request, uniform between the two."""

    min_seconds: Seconds = 0.0
    max_seconds: Seconds = 0.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError(
                f"minSeconds ({self.min_seconds:g}) is above maxSeconds ({self.max_seconds:g}): "
                "raise maxSeconds or lower minSeconds"
            )
        return self


class Request(Document):
    """What each request carries besides its prompt, and how long its answer may take."""

    body: dict[str, JsonValue] = Field(default_factory=dict)
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0

    @field_validator("body")
    @classmethod
    def _has_no_prompt(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if "prompt" in body:
            raise ValueError("it carries a prompt, but each request takes its own from `prompts`")
        return body


class Prompts(Document):
    """Where prompts come from: a list, a file with one a line, or neither for the built-in list."""

    inline: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=100_000)] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.inline is not None and self.file is not None:
            raise ValueError("inline and file are both set: keep one of them")
        return self


class ReportTo(Document):
    """The ConfigMap that takes progress and report; none means files only."""

    config_map: Name | None = None


class LoadPlan(VersionedDocument):
    test: Test
    target: Target
    users: Users
    think: Think = Think()
    request: Request = Request()
    prompts: Prompts = Prompts()
    report: ReportTo = ReportTo()

    @property
    def duration_seconds(self) -> float:
        return sum(stage.duration_seconds for stage in self.users.stages)


def parse_plan(text: str) -> LoadPlan:
    """The plan in `text`; raises PlanError that names each bad field as the plan spells it."""
    try:
        return LoadPlan.model_validate_json(text)
    except ValidationError as error:
        raise PlanError(f"The load plan is not valid: {_sentences(error)}") from None


def _sentences(error: ValidationError) -> str:
    """One clause per bad field. The input itself is left out, since it may hold prompts."""
    clauses = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(str(part) for part in detail["loc"]) or "the document"
        message = detail["msg"].removeprefix("Value error, ")
        clauses.append(f"{path}: {message[:1].lower()}{message[1:]}")
    return "; ".join(clauses) + "."


def load_plan(path: Path | None, environment: Mapping[str, str] | None = None) -> LoadPlan:
    """The plan in the file, or without one in the environment variable DIFFUSION_LOAD_PLAN.

    Raises PlanError where there is none, or where it is not valid.
    """
    variables = os.environ if environment is None else environment
    if path is None:
        text = variables.get(PLAN_VARIABLE)
        if text is None:
            raise PlanError(
                f"There is no load plan: give --plan FILE or set the variable {PLAN_VARIABLE}."
            )
        return parse_plan(text)
    try:
        return parse_plan(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The load plan {path} cannot be read: {error}.") from None


def request_bodies(plan: LoadPlan, prompts: tuple[str, ...]) -> tuple[bytes, ...]:
    """The JSON body of each prompt's request, made once rather than for every request."""
    return tuple(
        json.dumps({"prompt": prompt, **plan.request.body}).encode("ascii") for prompt in prompts
    )
