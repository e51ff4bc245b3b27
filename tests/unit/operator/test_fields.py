"""Field types of the specs."""

import pytest

from diffusion_operator.api.fields import seconds


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
