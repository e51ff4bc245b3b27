"""Field types shared by the resources."""

import decimal
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = r"^([0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$"
_DURATION_HELP = "write a duration such as 90s, 500ms or 1m30s: a number alone has no unit"
_DECIMAL_HELP = 'write a decimal number, such as 2.5 or "2.5"'
_MOST_DIGITS = 9
_LEAST_ABOVE_ZERO = 0.000001
MOST_TEXT = 32
"""Characters of a duration or a quantity."""
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


def _validated(pattern: str, message: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r}: {message}")
        return text

    return AfterValidator(check)


def duration_rules(bound: str = "", message: str = "") -> dict[str, Any]:
    """CEL validations of a duration; ``bound`` is one more, on ``self``."""
    # The API server quotes a schema's pattern; a sentence helps people more.
    validations = [rule(is_duration("self"), _DURATION_HELP)]
    if bound:
        validations.append(rule(f"!({is_duration('self')}) || ({bound})", message))
    return rules(*validations)


def is_duration(field: str) -> str:
    """CEL expression that tells whether a field, which may be a number, is a duration."""
    return f"type({field}) == string && {field}.matches(r'{DURATION}')"


def text_or_number(max_length: int, validations: dict[str, Any]) -> WithJsonSchema:
    """Schema of a string that lets a whole number reach its CEL validations.

    The API server refuses a number for a `type: string` before any validation, and so without the
    sentence that says what to write.
    """
    return WithJsonSchema(
        {"x-kubernetes-int-or-string": True, "maxLength": max_length, **validations}
    )


def decimal_schema(most: int | None = None, *, above_zero: bool = False) -> dict[str, Any]:
    """Schema of a decimal number, or a string of one, from 0 to ``most`` (10^9 without it).

    Without a type the API server takes 0.01 as well as "0.01", while int-or-string takes whole
    numbers only. CEL can't read such a field, so the bounds of strings stand in the pattern; its
    last part, which no text matches, says what to write. Lists, objects and truth values are
    refused by limits that none of them keeps.
    """
    limits = [*(["above 0"] if above_zero else []), *([] if most is None else [f"at most {most}"])]
    advice = ", ".join(["a decimal number", *limits, 'such as 0.5 or "0.5"'])
    return {
        "x-kubernetes-preserve-unknown-fields": True,
        "maxLength": 16,
        "pattern": f"^{_digits(most, above_zero=above_zero)}$|{advice}^",
        # The API server rounds another minimum down where the value is a whole number.
        "minimum": 0,
        "exclusiveMinimum": above_zero,
        "maximum": 10**_MOST_DIGITS if most is None else most,
        "minItems": 1,
        "maxItems": 0,
        "minProperties": 1,
        "maxProperties": 0,
        "not": {"enum": [True, False]},
    }


def _digits(most: int | None, *, above_zero: bool) -> str:
    """Regular expression of decimal numbers up to a digit or a power of ten.

    Raises:
        ValueError: ``most`` is neither, or a digit with ``above_zero``.
    """
    fraction = "([.][0-9]{1,6})?"
    first, zeros = ("1", "0" * _MOST_DIGITS) if most is None else (str(most)[0], str(most)[1:])
    if zeros.strip("0") or (first != "1" if zeros else above_zero):
        raise ValueError(f"no pattern for numbers up to {most}")
    if above_zero:
        below = f"[1-9][0-9]{{0,{len(zeros) - 1}}}{fraction}|0[.]0{{0,5}}[1-9][0-9]{{0,5}}"
    else:
        below = f"{f'[0-9]{{1,{len(zeros)}}}' if zeros else f'[0-{int(first) - 1}]'}{fraction}"
    return f"0{{0,8}}({below}|{first}{zeros}([.]0{{1,6}})?)"


def _as_text(value: object) -> object:
    """Text of a number, without an exponent; any other value as it is.

    Raises:
        ValueError: The number is above 0 and less than a string can say.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 < value < _LEAST_ABOVE_ZERO:
            raise ValueError(f"{value}: write 0, or a number of at least {_LEAST_ABOVE_ZERO:f}")
        return f"{decimal.Decimal(repr(value)):f}"
    return value


Duration = Annotated[
    str,
    text_or_number(MOST_TEXT, duration_rules()),
    _validated(DURATION, _DURATION_HELP),
]
Decimal = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema(decimal_schema()),
    _validated(r"[0-9]{1,16}(\.[0-9]+)?", _DECIMAL_HELP),
]
"""Decimal number from 0 on, as a text; a number is taken, too."""
GuidanceScale = Annotated[Decimal, WithJsonSchema(decimal_schema(100))]
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
