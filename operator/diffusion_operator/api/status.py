"""Status fields that several kinds share."""

from typing import Literal

from pydantic import Field

from diffusion_operator.api.fields import Model


class Condition(Model):
    """Condition of the resource, per the Kubernetes API conventions."""

    type: str = Field(max_length=316, description="Name of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(
        description="Status of the condition; Unknown while it is undecided."
    )
    reason: str = Field(
        max_length=1024,
        pattern=r"^[A-Za-z][A-Za-z0-9]*$",
        description="The cause in one CamelCase word, for programs and the REASON column.",
    )
    message: str = Field(max_length=32768, description="The cause in a sentence, for people.")
    observed_generation: int = Field(
        ge=0, description="The metadata.generation that this condition was computed from."
    )
    last_transition_time: str = Field(
        json_schema_extra={"format": "date-time"},
        description="Time at which status last changed.",
    )


class Failure(Model):
    """Latest failure of a pod, kept after the pod is gone."""

    pod: str = Field(max_length=253, description="Name of the pod.")
    reason: str = Field(max_length=1024, description="The cause in one word.")
    exit_code: int | None = Field(None, description="Exit code of the container, if it exited.")
    message: str = Field(max_length=4096, description="The cause in a sentence.")
    time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="Time of the failure."
    )
