"""A request to an ASGI application, message by message."""

from typing import Any


async def post(app: Any, receive: Any, headers: list[tuple[bytes, bytes]]) -> int:
    """Status of a POST /predict whose body comes from `receive`."""
    status = 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/predict",
        "query_string": b"",
        "headers": headers,
    }
    await app(scope, receive, send)
    return status
