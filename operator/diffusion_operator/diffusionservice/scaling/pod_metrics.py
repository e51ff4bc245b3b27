"""Metrics of a serving pod, read from its /metrics."""

from collections.abc import Mapping
from typing import Any

import aiohttp

from diffusion_operator.diffusionservice.specs.server_container import PORT

TIMEOUT = aiohttp.ClientTimeout(total=3)
MOST_BYTES = 1_000_000


async def read_metrics(pod: Mapping[str, Any]) -> str | None:
    """Metrics text of the pod, or ``None`` where it doesn't answer."""
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        return None
    host = f"[{address}]" if ":" in address else address
    try:
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.get(f"http://{host}:{PORT}/metrics") as answer,
        ):
            if not answer.ok:
                return None
            return await _text(answer)
    except (aiohttp.ClientError, TimeoutError):
        return None


async def _text(answer: aiohttp.ClientResponse) -> str | None:
    """Complete body of the answer, or ``None`` where it is far too long.

    A partial body could lack the figure or cut it.
    """
    body = b""
    async for part in answer.content.iter_any():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return body.decode(errors="replace")
