"""The /about document, by which a target describes itself."""

import json
from http import HTTPStatus

from pydantic import JsonValue

from diffusion_loadtest.target.connection import Connection, NoResponseError

ABOUT_BYTES = 65_536
_REQUEST_SECONDS = 5.0


def about(url: str, api_key: str | None = None) -> dict[str, JsonValue] | None:
    """The target's /about document; None without a JSON object of at most ABOUT_BYTES."""
    try:
        with Connection(url, _REQUEST_SECONDS, api_key) as connection:
            response = connection.get("/about")
        document = json.loads(response.body)
    except (NoResponseError, ValueError):
        return None
    usable = response.status == HTTPStatus.OK and len(response.body) <= ABOUT_BYTES
    return document if usable and isinstance(document, dict) else None
