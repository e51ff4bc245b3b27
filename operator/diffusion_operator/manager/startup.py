"""Start-up: waits for the custom kinds, and leaves namespaces out that can't be watched.

kopf looks for the kinds once, and reports no event before it has listed each kind in each
namespace, so that one that is gone would keep all others from being served.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from http import HTTPStatus

import aiohttp

from diffusion_operator.kube.client import ApiError, Cluster, NotFoundError
from diffusion_operator.kube.kinds import CUSTOM_KINDS

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
# A namespace that comes back is rare.
RETURN_SECONDS = 30.0
# kopf gives up a refused watch, and with it the whole operator, once its pauses are used up.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 1.0, 20.0

Sleep = Callable[[float], Awaitable[None]]


class EndlessBackoff:
    """Pauses between kopf's tries of a request: growing, and without an end."""

    def __iter__(self) -> Iterator[float]:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            yield pause
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)


async def watchable(
    cluster: Cluster, namespaces: Sequence[str], sleep: Sleep = asyncio.sleep
) -> list[str]:
    """Wait for the custom kinds, and return the namespaces in which the operator may list them.

    With ``namespaces`` empty it watches all, and the result is empty. Otherwise it waits until one
    can be watched at least.
    """
    before: str | None = None
    while True:
        missing, there = await _look(cluster, namespaces)
        if missing is None:
            for namespace in sorted(set(namespaces) - set(there)):
                logger.error(
                    "namespace %s can't be watched and is left out until it is there and the "
                    "operator's Role in it: are both installed?",
                    namespace,
                )
            return there
        if missing != before:
            logger.warning("%s: waiting", missing)
            before = missing
        await sleep(LOOK_SECONDS)


async def _look(cluster: Cluster, namespaces: Sequence[str]) -> tuple[str | None, list[str]]:
    """Look for kinds and namespaces once.

    Returns:
        The reason why the operator can't begin yet, if there is one; the watchable namespaces.
    """
    try:
        there = [each for each in namespaces or [""] if await _may_list(cluster, each)]
    except NotFoundError as error:
        return f"the cluster doesn't serve {error.path} yet: apply the CRDs", []
    except (ApiError, aiohttp.ClientError, OSError) as error:
        return f"the API server doesn't answer ({type(error).__name__}: {error})", []
    if not there:
        where = ", ".join(namespaces) or "the cluster"
        return f"the operator may not list its kinds in {where}", []
    return None, list(filter(None, there))


async def _may_list(cluster: Cluster, namespace: str) -> bool:
    """Whether the operator may list every custom kind there.

    Raises:
        NotFoundError: The cluster doesn't serve a kind.
        ApiError: The API server refused otherwise.
    """
    try:
        for kind in CUSTOM_KINDS:
            await cluster.list_one(kind, namespace)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return False
    return True


async def until_one_returns(
    cluster: Cluster, away: Sequence[str], sleep: Sleep = asyncio.sleep
) -> str:
    """Wait until one of the namespaces can be watched, and return its name."""
    while True:
        await sleep(RETURN_SECONDS)
        for namespace in away:
            _, there = await _look(cluster, [namespace])
            if there:
                return namespace
