"""The /about document, by which a target describes itself."""

import json
from http import HTTPStatus

from pydantic import JsonValue

from diffusion_loadtest.target.connection import Connection, NoResponseError

ABOUT_BYTES = 65_536
_REQUEST_SECONDS = 5.0


def about(url: str, api_key: str | None = None) -> dict[str, JsonValue] | None:
    """The target's /about document; None without a JSON object of at most ABOUT_BYTES.

    `replica` is the name of the replica that responded, from the response's header.
    """
    try:
        with Connection(url, _REQUEST_SECONDS, api_key) as connection:
            response = connection.get("/about")
        document = json.loads(response.content())
    except (NoResponseError, ValueError):
        return None
    usable = response.status == HTTPStatus.OK and len(response.body) <= ABOUT_BYTES
    if not usable or not isinstance(document, dict):
        return None
    return document if response.replica is None else document | {"replica": response.replica}
