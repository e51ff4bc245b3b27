"""Field types of the specs."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from diffusion_operator.api.fields import Decimal, decimal_schema, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90.0), ("500ms", 0.5), ("1m30s", 90.0), ("1.5h", 5400.0), ("0s", 0.0)],
)
def test_a_duration_is_read_in_seconds(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "10", "s", "10 s", "-5s", "5d", "5s\n", "1e3s"])
def test_a_text_that_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 90s"):
        seconds(text)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (10, "10"),
        (10**9, "1000000000"),
        (0.01, "0.01"),
        (7.5, "7.5"),
        (2.5e-05, "0.000025"),
        ("0.50", "0.50"),
        (0, "0"),
    ],
)
def test_a_decimal_is_written_as_a_number_or_as_a_text(written: object, read: str) -> None:
    assert TypeAdapter(Decimal).validate_python(written) == read


@pytest.mark.parametrize("written", ["", "x", "1e3", "-1", -0.5, 1e-7, True, None, [1], "1\n"])
def test_another_value_is_no_decimal(written: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Decimal).validate_python(written)


ABOVE_ZERO = decimal_schema(10_000, above_zero=True)


@pytest.mark.parametrize(
    ("schema", "taken", "refused"),
    [
        (decimal_schema(), "0 00.5 999999999.999999", "-1 1e3 x .5 1. 1.1234567"),
        (decimal_schema(1), "0 0.01 1 1.0 01.00", "1.01 2 10"),
        (decimal_schema(4), "0 3.999 4 4.0", "4.1 5 40"),
        (decimal_schema(100), "0 7.5 99.9 100 100.0", "100.1 101 1000"),
        (ABOVE_ZERO, "0.000001 0.5 1 00.1 9999.9 10000", "0 00 0.0 0.000000 10000.1 10001"),
        (decimal_schema(above_zero=True), "0.1 1 999999999", "0 0.0 -1"),
    ],
)
def test_the_pattern_of_a_decimal_has_the_bounds_of_its_numbers(
    schema: dict[str, Any], taken: str, refused: str
) -> None:
    for text in taken.split():
        assert re.search(schema["pattern"], text), text
    for text in [*refused.split(), "", "a decimal number", schema["pattern"]]:
        assert not re.search(schema["pattern"], text), text


def test_a_refusal_of_a_decimal_says_what_to_write() -> None:
    assert 'a decimal number, above 0, at most 10000, such as 0.5 or "0.5"' in ABOVE_ZERO["pattern"]


@pytest.mark.parametrize("most", [12, 40, 250])
def test_a_bound_without_a_pattern_is_an_error(most: int) -> None:
    with pytest.raises(ValueError, match=str(most)):
        decimal_schema(most)
