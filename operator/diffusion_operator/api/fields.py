"""Field types shared by the resources: no floats in a spec, so all clients print them alike."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = r"^([0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$"
_DECIMAL = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"
_PART = re.compile(r"([0-9.]+)(ms|s|m|h)")


def rule(cel: str, message: str, field_path: str | None = None) -> Mapping[str, Any]:
    """CEL validation of the schema; ``message`` says what to write instead."""
    validation = {"rule": cel, "message": message}
    if field_path:
        validation["fieldPath"] = field_path
    return validation


def rules(*validations: Mapping[str, Any]) -> dict[str, Any]:
    """Value of ``json_schema_extra`` that carries CEL validations into the CRD."""
    return {"x-kubernetes-validations": [dict(validation) for validation in validations]}


def _written_as(pattern: str, message: str, bound: str, bound_message: str) -> dict[str, Any]:
    # The API server quotes a schema's pattern; a sentence helps people more.
    written = f"self.matches(r'{pattern}')"
    validations = [rule(written, message)]
    if bound:
        validations.append(rule(f"!{written} || ({bound})", bound_message))
    return rules(*validations)


def _validated(pattern: str, message: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r}: {message}")
        return text

    return AfterValidator(check)


def duration_rules(bound: str = "", message: str = "") -> dict[str, Any]:
    """CEL validations of a duration; ``bound`` is one more, on ``self``."""
    return _written_as(DURATION, "write a duration such as 90s, 500ms or 1m30s", bound, message)


def decimal_rules(bound: str = "", message: str = "") -> dict[str, Any]:
    """CEL validations of a decimal string; ``bound`` is one more, on ``self``."""
    return _written_as(_DECIMAL, 'write a decimal number in quotes, such as "2.5"', bound, message)


Duration = Annotated[
    str,
    Field(max_length=32, json_schema_extra=duration_rules()),
    _validated(DURATION, "write a duration such as 90s, 500ms or 1m30s"),
]
Decimal = Annotated[
    str,
    Field(max_length=16, json_schema_extra=decimal_rules()),
    _validated(_DECIMAL, 'write a decimal number in quotes, such as "2.5"'),
]
GuidanceScale = Annotated[
    Decimal,
    Field(
        json_schema_extra=decimal_rules(
            "double(self) <= 100.0", 'guidanceScale is at most 100: write for example "7.5"'
        )
    ),
]
Side = Annotated[int, Field(ge=64, le=4096, multiple_of=8)]
ObjectName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]


DataKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]


def seconds(duration: Duration) -> float:
    """Length of a duration such as ``1m30s`` or ``500ms``, in seconds.

    Raises:
        ValueError: The text is no duration.
    """
    if not re.fullmatch(DURATION, duration):
        raise ValueError(f"{duration!r} is not a duration: write for example 90s, 500ms or 1m30s")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(duration))


def shown(value: float) -> str:
    """Format with four significant digits, without an exponent for usual values."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four digits


class Model(BaseModel):
    """Base of all documents: immutable, camelCase on the wire; an unknown field is an error."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid"
    )


class SecretKey(Model):
    """One key of a Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: DataKey = Field(description="Key of its data.")
