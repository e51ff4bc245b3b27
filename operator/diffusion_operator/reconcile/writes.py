"""The only place that writes: a child or a status goes out when, and only when, it differs."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from kubernetes.utils.quantity import parse_quantity

from diffusion_operator.api.fields import Model
from diffusion_operator.cache import Cache
from diffusion_operator.clock import utc_now
from diffusion_operator.cluster import ApiError, Cluster, NotFoundError, said_by
from diffusion_operator.objects import DIGEST_ANNOTATION, Key, Object, is_owned, key_of
from diffusion_operator.status.events import warnings

logger = logging.getLogger(__name__)

T = TypeVar("T")

HOLD_BACK_SECONDS = 0.5
# The first status waits for what it is about to tell, which one write then tells instead of three.
FIRST_HOLD_BACK_SECONDS = 2.0
# A foreign object in the way carries no label that would wake the operator when it goes.
LOOK_AGAIN_SECONDS = 15.0
# These are made without a look whether they are there: the answer tells.
_MADE_UNASKED = frozenset({"ServiceAccount", "Deployment"})


class NameTakenError(Exception):
    """An object of a child's name is there already, and belongs to someone else."""


class LeftoverError(Exception):
    """A child of a deleted owner of the same name is still to be collected; it won't be long."""


class Writes:
    """Writes through to the cluster, skipping what is already so."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._clock = clock
        self._now = now
        self._told: dict[Key, float] = {}

    async def children(
        self,
        owner: Mapping[str, Any],
        wanted: Sequence[Object],
        unwanted: Sequence[Key] = (),
        after: Sequence[Object] = (),
        ahead: Sequence[Object] = (),
    ) -> list[Object]:
        """Make the children be as ``wanted``, side by side, and return them as they are.

        They come ``after`` what they need from their first moment. Those ``ahead`` are wanted, too,
        come first, also in what is returned, and nothing else changes where they can't be made.
        Those ``unwanted`` are deleted once all that takes their place is made.
        None of the wanted is written where one of the others can't be, but for the Deployments:
        whether theirs can be is known when they are written.
        Raises ``NameTakenError``, ``LeftoverError`` or ``ApiError``.
        """
        found = await self._found(owner, [*ahead, *wanted], after)
        made = await self._all_as_wanted(owner, ahead, found[: len(ahead)])
        made += await self._all_as_wanted(owner, wanted, found[len(ahead) :])
        await self.delete(owner, unwanted)
        return made

    async def _all_as_wanted(
        self, owner: Mapping[str, Any], wanted: Sequence[Object], live: Sequence[Object | None]
    ) -> list[Object]:
        return _done(await _side_by_side(map(partial(self._as_wanted, owner), wanted, live)))

    async def _found(
        self, owner: Mapping[str, Any], wanted: Sequence[Object], after: Sequence[Object]
    ) -> list[Object | None]:
        """What there is of the wanted, once what they come ``after`` is as it should be."""
        first, found = await asyncio.gather(
            _side_by_side(self._first(owner, child) for child in after),
            _side_by_side(self._live(owner, child) for child in wanted),
        )
        _done(first)
        return _done(found)

    async def _first(self, owner: Mapping[str, Any], wanted: Object) -> Object:
        return await self._as_wanted(owner, wanted, await self._live(owner, wanted))

    async def _as_wanted(
        self, owner: Mapping[str, Any], wanted: Object, live: Object | None
    ) -> Object:
        """The child, made or changed where what is known of it isn't as wanted."""
        unasked = wanted["kind"] in _MADE_UNASKED
        if live is None and unasked:
            made = await self._cluster.create(wanted)
            if made is not None:
                self._cache.wrote(made)
                return made
            live = await self._there(owner, key_of(wanted))
        if live is not None and is_as_wanted(wanted, live):
            return live
        if live is not None and unasked:
            await self._cluster.own_what_was_created(key_of(wanted))
        return await self._apply(wanted)

    async def delete(self, owner: Mapping[str, Any], unwanted: Sequence[Key]) -> None:
        """Delete those of the ``unwanted`` that are there and the owner's. Raises ``ApiError``."""
        for key in unwanted:
            live = self._cache.get(key)
            if (
                live is not None
                and is_owned(live, owner)
                and "deletionTimestamp" not in live["metadata"]
            ):
                await self._cluster.delete(live)

    async def child_once(
        self,
        owner: Mapping[str, Any],
        wanted: Object,
        after: Sequence[Object] = (),
        later: Sequence[Object] = (),
    ) -> Object:
        """Make the child if it isn't there; one that is there is left as it is (a Job, say).

        It comes ``after`` what it needs from its first moment. What it needs only ``later`` is
        made when it is there, so that it needn't wait for that.
        Raises as ``children`` does.
        """
        live, *others = await self._found(owner, [wanted, *later], after)
        made = live or await self._apply(wanted)
        await self._all_as_wanted(owner, later, others)
        return made

    async def _apply(self, wanted: Object) -> Object:
        answer = await self._cluster.apply(wanted)
        self._cache.wrote(answer)
        return answer

    async def _live(self, owner: Mapping[str, Any], wanted: Object) -> Object | None:
        """The child, as far as it has to be known before it is written."""
        key = key_of(wanted)
        if self._cache.get(key) is None and key.kind in _MADE_UNASKED:
            return None
        return await self._there(owner, key)

    async def _there(self, owner: Mapping[str, Any], key: Key) -> Object | None:
        """The object, which must be the owner's, if it is there."""
        # The watch sees only objects with this operator's label, so absence has to be asked for.
        live = self._cache.get(key) or await self._cluster.get(key)
        if live is None or is_owned(live, owner):
            return live
        owners = live["metadata"].get("ownerReferences", ())
        name, kind = owner["metadata"]["name"], owner["kind"]
        what = f"{live['kind']} {live['metadata']['name']}"
        if any(ref["kind"] == kind and ref["name"] == name for ref in owners):
            raise LeftoverError(f"{what} of the deleted {kind} {name} is still there")
        raise NameTakenError(
            f"{what} exists and is not this {kind}'s: delete it, or give the {kind} another name"
        )

    async def status(
        self, owner: Mapping[str, Any], status: Model, *, settled: bool = True
    ) -> float | None:
        """Write the status where it differs from what the resource shows. Raises ``ApiError``.

        What follows a write, or the first sight of the resource, closely is held back, so that the
        many little steps of a beginning become one write; the first longer where it hasn't
        ``settled``. Returns the seconds after which to try again if so.
        """
        wanted = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if wanted == owner.get("status"):
            return None
        key = key_of(owner)
        first = not owner.get("status")
        back = FIRST_HOLD_BACK_SECONDS if first and not settled else HOLD_BACK_SECONDS
        early = self._told.setdefault(key, self._clock()) + back - self._clock()
        if early > 0:
            return early
        meta = owner["metadata"]
        body = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            # The uid keeps the status of a deleted resource off its successor of the same name.
            "metadata": {k: meta[k] for k in ("name", "namespace", "uid")},
            "status": wanted,
        }
        try:
            self._cache.wrote(await self._cluster.apply_status(body))
        except NotFoundError:  # deleted meanwhile: there is no one left to tell
            self._cache.is_absent(key)
            return None
        self._told[key] = self._clock()
        await self._tell(owner, wanted)
        return None

    async def _tell(self, owner: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        for event in warnings(owner, status, self._now()):
            try:
                await self._cluster.create(event)
            except ApiError as error:  # the status has it all; an Event is a courtesy
                logger.warning("no Event about %s: %s", owner["metadata"]["name"], said_by(error))

    def forget(self, key: Key) -> None:
        """Drop what is kept for a resource that is gone."""
        self._told.pop(key, None)


async def _side_by_side(doing: Iterable[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
    """What came of each; one that fails must not leave the others half done."""
    return await asyncio.gather(*doing, return_exceptions=True)


def _done(outcomes: Iterable[T | BaseException]) -> list[T]:
    """What came of all. Raises what one of them failed with."""
    done = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        done.append(outcome)
    return done


def sooner(*delays: float | None) -> float | None:
    """The shortest of the delays that are there."""
    return min((delay for delay in delays if delay is not None), default=None)


def is_as_wanted(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Whether nothing would change: built from the same content, and nothing of it changed since.

    The digest shows what the builder no longer asks for, the comparison what someone else changed.
    """
    return _digest(wanted) == _digest(live) and _covers(live, wanted)


def _digest(obj: Mapping[str, Any]) -> str | None:
    found: str | None = (obj["metadata"].get("annotations") or {}).get(DIGEST_ANNOTATION)
    return found


def _covers(live: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there; what others added beside it doesn't matter."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            _covers(live.get(name), value)
            for name, value in wanted.items()
            if value not in ({}, [])
        )
    if isinstance(wanted, list | tuple):
        return isinstance(live, list) and _covers_items(live, list(wanted))
    return bool(live == wanted) or _same_quantity(live, wanted)


def _same_quantity(live: Any, wanted: Any) -> bool:
    """Whether both are one quantity: the API server writes "1000m" as "1"."""
    if not isinstance(live, str | int) or not isinstance(wanted, str | int):
        return False
    try:
        return bool(parse_quantity(live) == parse_quantity(wanted))
    except ValueError:
        return False


def _covers_items(live: list[Any], wanted: list[Any]) -> bool:
    """Named items (containers, volumes) may have others among them; a plain list is as it is."""
    if all(isinstance(item, Mapping) and "name" in item for item in wanted):
        named = {item.get("name"): item for item in live if isinstance(item, Mapping)}
        return all(_covers(named.get(item["name"]), item) for item in wanted)
    return len(live) == len(wanted) and all(map(_covers, live, wanted))
