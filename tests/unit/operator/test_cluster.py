"""What the API server's refusals become."""

import json

import pytest

from diffusion_operator.cluster import ApiError, _retry_after, said_by


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "3"}, 3.0), ({}, None), ({"Retry-After": "soon"}, None)],
)
def test_the_wait_that_the_api_server_asks_for(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert _retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (json.dumps({"message": "no such field"}), "no such field"),
        ("upstream is away", "upstream is away"),
        ("[]", "[]"),
    ],
)
def test_what_was_said_is_found_in_any_answer(body: str, said: str) -> None:
    assert said_by(ApiError(500, "Internal Server Error", body, None)) == said
