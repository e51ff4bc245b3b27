"""Field types shared by the resources: no floats in a spec, so all clients print them alike."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = r"^([0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$"
_PART = re.compile(r"([0-9.]+)(ms|s|m|h)")

Duration = Annotated[str, Field(pattern=_DURATION, max_length=32)]
Decimal = Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$", max_length=16)]
ObjectName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]


def seconds(duration: Duration) -> float:
    """Length of a duration such as ``1m30s`` or ``500ms``, in seconds.

    Raises ``ValueError`` for text that is no duration.
    """
    if not re.fullmatch(_DURATION, duration):
        raise ValueError(f"{duration!r} is not a duration: write for example 90s, 500ms or 1m30s")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(duration))


class Model(BaseModel):
    """Immutable, camelCase on the wire, and deaf to nothing: an unknown field is an error."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid"
    )


def rule(cel: str, message: str, field_path: str | None = None) -> Mapping[str, Any]:
    """One CEL validation of the schema; ``message`` says what to write instead."""
    found = {"rule": cel, "message": message}
    if field_path:
        found["fieldPath"] = field_path
    return found


def rules(*validations: Mapping[str, Any]) -> dict[str, Any]:
    """The ``json_schema_extra`` that carries CEL validations into the CRD."""
    return {"x-kubernetes-validations": [dict(validation) for validation in validations]}
