"""Prometheus client: one figure by an instant query."""

import json
import math
from datetime import datetime
from typing import Any

import aiohttp

TIMEOUT_SECONDS = 10
MOST_BYTES = 100_000
_MOST_TEXT = 300
_TIMEOUT = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)


class NoFigureError(Exception):
    """Error for a query without a figure; its message continues a sentence that begins with
    "Prometheus".
    """


async def figure(url: str, query: str, at: datetime) -> float:
    """Result of the query at that time, which must be one finite number.

    Raises:
        NoFigureError: Prometheus gave no such number.
    """
    parameters = {"query": query, "time": f"{at.timestamp():.3f}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.post(
                f"{url.rstrip('/')}/api/v1/query", data=parameters, allow_redirects=False
            ) as answer,
        ):
            return _number(answer.status, await _text(answer))
    except TimeoutError as error:
        raise NoFigureError(f"did not answer within {TIMEOUT_SECONDS} s") from error
    except aiohttp.ClientError as error:
        raise NoFigureError(f"could not be asked: {error}"[:_MOST_TEXT]) from error


async def _text(answer: aiohttp.ClientResponse) -> str:
    body = b""
    async for part in answer.content.iter_any():
        body += part
        if len(body) > MOST_BYTES:
            raise NoFigureError("gives far more than one figure for the query")
    return body.decode(errors="replace")


def _number(status: int, text: str) -> float:
    """Single number of an /api/v1/query answer."""
    try:
        answer = json.loads(text)
        if answer["status"] != "success":
            raise NoFigureError(f"refused the query: {answer['error']}"[:_MOST_TEXT])
        samples = _samples(answer["data"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise NoFigureError(f"gave no answer of its API (HTTP {status})") from error
    if not samples:
        raise NoFigureError("has no sample for the query")
    if len(samples) > 1:
        raise NoFigureError(f"gives {len(samples)} figures for the query: write sum(…) or avg(…)")
    if not math.isfinite(samples[0]):
        raise NoFigureError(f"gives {samples[0]} for the query")
    return samples[0]


def _samples(data: dict[str, Any]) -> list[float]:
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return [float(result[1])]
    if kind == "vector":
        return [float(sample["value"][1]) for sample in result]
    raise NoFigureError(f"gives a {kind} for the query, which must give one number")
