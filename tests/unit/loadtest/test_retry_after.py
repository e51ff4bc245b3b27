"""Users pause after a refusal for as long as the target asks."""

from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from diffusion_loadtest.measure.samples import SUCCESS
from diffusion_loadtest.target.retry_after import pause_after, retry_after_seconds

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0", 0.0),
        (["1", "2"], 2.0),
        ("3600", 60.0),
        ("Fri, 20 Nov 2026 12:00:05 GMT", 5.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        (None, 1.0),
        ("soon", 1.0),
        ("-5", 1.0),
    ],
)
def test_the_pause_is_what_the_target_asks_for(header: Any, seconds: float) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@pytest.mark.parametrize(
    ("failure", "least", "most"),
    [(SUCCESS, 0, 0), ("HTTP429", 7.0, 7.7), ("HTTP503", 7.0, 7.7), ("HTTP500", 0, 0)],
)
def test_a_user_pauses_after_a_refusal_alone(
    failure: str | None, least: float, most: float
) -> None:
    random = Random(1)
    assert all(least <= pause_after(failure, 7.0, random) <= most for _ in range(100))
