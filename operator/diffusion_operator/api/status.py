"""Status fields that both kinds have."""

from typing import Literal

from pydantic import Field

from diffusion_operator.api.fields import Model


class Condition(Model):
    """One observation of the resource, as in the Kubernetes API conventions."""

    type: str = Field(max_length=316, description="Name of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether the condition holds; Unknown while it can't be said."
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
        description="When status last changed from one value to another.",
    )
