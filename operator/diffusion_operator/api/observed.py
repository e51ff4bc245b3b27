"""Status of the three kinds as the API server has it: typed, unknown fields ignored."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from diffusion_operator.api.comparison import Run
from diffusion_operator.api.diffusionservice import Precision
from diffusion_operator.api.loadtest import ReportRef
from diffusion_operator.api.state import RunState
from diffusion_operator.api.status import Failure


class _Observed(BaseModel):
    """Base of models that read documents of other versions."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class ObservedCondition(_Observed):
    """One condition of any object."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str | None = None

    @property
    def is_true(self) -> bool:
        return self.status == "True"

    @property
    def is_false(self) -> bool:
        return self.status == "False"


class ObservedStatus(_Observed):
    """The fields that each kind's status has."""

    observed_generation: int = 0
    conditions: tuple[ObservedCondition, ...] = ()

    @classmethod
    def of(cls, obj: Mapping[str, Any] | None) -> Self:
        """Status of the object, without the fields of other versions at any depth.

        A field that can't be read counts as absent.
        """
        fields = (obj or {}).get("status") or {}
        try:
            return cls.model_validate(fields, extra="ignore")
        except ValidationError as error:
            wrong = {each["loc"][0] for each in error.errors()}
            readable = {k: v for k, v in fields.items() if k not in wrong}
            return cls.model_validate(readable, extra="ignore")

    def condition(self, kind: str) -> ObservedCondition | None:
        """The condition of that type, if it is there."""
        return next((each for each in self.conditions if each.type == kind), None)


class ObservedService(ObservedStatus):
    """Status of a DiffusionService."""

    replicas: int = 0
    revision: str | None = None
    """The revision that answers requests, once one does."""
    precision: Precision | None = None
    last_failure: Failure | None = None


class ObservedFingerprint(_Observed):
    """Fingerprint of a LoadTest's target."""

    digest: str = ""
    image: str = ""
    replicas: int | None = None
    facts: Mapping[str, Any] = Field(default_factory=dict)


class ObservedTarget(_Observed):
    """Target of a LoadTest."""

    backend: str = ""
    revision: str = ""
    fingerprint: ObservedFingerprint | None = None


class ObservedFigures(_Observed):
    """Figures of a LoadTest: of the whole run, or of one stage."""

    requests: int | None = None
    failures: int | None = None
    requests_per_second: str | None = None
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None


class ObservedStage(ObservedFigures):
    """Figures of one stage of a LoadTest."""

    within_slo: bool | None = Field(None, alias="withinSLO")


class ObservedRun(ObservedStatus):
    """The fields that the status of a LoadTest and of a Comparison share."""

    state: RunState = RunState.UNKNOWN
    run: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the status holds the end of the run that it names."""
        return bool(self.run) and self.state.is_final


class ObservedLoadTest(ObservedRun):
    """Status of a LoadTest."""

    spec_digest: str = ""
    run_at: str = ""
    target: ObservedTarget = ObservedTarget()
    summary: ObservedFigures = ObservedFigures()
    stages: tuple[ObservedStage, ...] = ()
    window: ObservedStage | None = None
    """Figures that the verdicts are of; absent from the status of an older version."""
    max_users_within_slo: int | None = Field(None, alias="maxUsersWithinSLO")
    max_rate_within_slo: str | None = Field(None, alias="maxRateWithinSLO")
    report_ref: ReportRef | None = None


class ObservedDesign(_Observed):
    """Design of a Comparison."""

    repetitions: int
    looks: tuple[int, ...] = ()


class ObservedComparison(ObservedRun):
    """Status of a Comparison."""

    design: ObservedDesign | None = None
    runs: tuple[Run, ...] = ()
    report_ref: ReportRef | None = None
