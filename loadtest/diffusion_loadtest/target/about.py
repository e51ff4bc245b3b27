"""The /about document, by which a target describes itself."""

import json
from http import HTTPStatus

from pydantic import JsonValue

from diffusion_loadtest.target.connection import Connection, NoAnswerError

ABOUT_BYTES = 65_536
_REQUEST_SECONDS = 5.0


def about(url: str, api_key: str | None = None) -> dict[str, JsonValue] | None:
    """The target's /about document; None if it has none that is a JSON object of ABOUT_BYTES."""
    try:
        with Connection(url, _REQUEST_SECONDS, api_key) as connection:
            answer = connection.get("/about")
        document = json.loads(answer.body)
    except (NoAnswerError, ValueError):
        return None
    known = answer.status == HTTPStatus.OK and len(answer.body) <= ABOUT_BYTES
    return document if known and isinstance(document, dict) else None
