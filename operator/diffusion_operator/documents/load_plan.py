"""Load plan, version 1: the operator writes it, ``diffusion_loadtest.plan`` reads it."""

from typing import Any, Literal

from pydantic import Field

from diffusion_operator.api.fields import Model


class TestIdentity(Model):
    name: str
    namespace: str
    run: str


class LoadTarget(Model):
    url: str
    is_autoscaled: bool


class LoadStage(Model):
    users: int
    duration_seconds: float


class LoadUsers(Model):
    stages: tuple[LoadStage, ...]
    spawn_rate: float


class RateStage(Model):
    rate_per_second: float
    duration_seconds: float


class LoadArrivals(Model):
    stages: tuple[RateStage, ...]
    distribution: str


class LoadSearch(Model):
    over: str
    min: float
    max: float
    probe_seconds: float


class ThinkTime(Model):
    min_seconds: float
    max_seconds: float


class LoadSeed(Model):
    policy: str
    value: int | None


class LoadRequest(Model):
    body: dict[str, Any] = Field(description="Fields of /predict, but for the prompt.")
    seed: LoadSeed
    timeout_seconds: float
    decode_share: float


class ConnectionReuse(Model):
    reuse: str | float = Field(description="PerRequest, Always, or a number of seconds.")


class PromptSource(Model):
    inline: tuple[str, ...] | None = None
    file: str | None = None


class Credentials(Model):
    api_key_variable: str


class WarmupLoad(Model):
    requests: int | None = None
    duration_seconds: float | None = None


class SloLimits(Model):
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    max_failure_ratio: float
    min_requests_per_second: float | None


class ReportSink(Model):
    config_map: str


class LoadPlan(Model):
    """Load plan with exactly one of users, arrivals and search."""

    version: Literal[1] = 1
    test: TestIdentity
    target: LoadTarget
    users: LoadUsers | None
    arrivals: LoadArrivals | None
    search: LoadSearch | None
    think: ThinkTime
    request: LoadRequest
    connections: ConnectionReuse
    prompts: PromptSource
    auth: Credentials | None
    min_requests: int | None
    warmup: WarmupLoad | None
    workers: int
    slo: SloLimits | None
    web_ui: bool
    random_seed: str | None = None
    report: ReportSink

    def text(self) -> str:
        """Text of the document, without unset fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
