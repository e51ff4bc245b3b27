"""What the operator tells the load runner, version 1; its reader is ``diffusion_loadtest.plan``."""

from typing import Literal

from pydantic import Field

from diffusion_operator.api.fields import Model


class TestIdentity(Model):
    name: str
    namespace: str
    run: str


class LoadTarget(Model):
    url: str


class LoadStage(Model):
    users: int
    duration_seconds: float


class LoadUsers(Model):
    stages: tuple[LoadStage, ...]
    spawn_rate: float


class ThinkTime(Model):
    min_seconds: float
    max_seconds: float


class LoadRequest(Model):
    body: dict[str, int | float] = Field(description="Fields of /predict, but for the prompt.")
    timeout_seconds: float


class PromptSource(Model):
    inline: tuple[str, ...] | None = None
    file: str | None = None


class ReportSink(Model):
    config_map: str


class LoadPlan(Model):
    version: Literal[1] = 1
    test: TestIdentity
    target: LoadTarget
    users: LoadUsers
    think: ThinkTime
    request: LoadRequest
    prompts: PromptSource
    report: ReportSink
