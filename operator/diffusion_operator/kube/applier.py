"""Applier: the only module that writes, and only where desired and observed state differ."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from diffusion_operator.api.fields import Model
from diffusion_operator.api.observed import ObservedRun
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, Cluster, NotFoundError, message_of
from diffusion_operator.kube.difference import is_up_to_date
from diffusion_operator.kube.events import left_alone, news
from diffusion_operator.kube.kinds import CUSTOM_KINDS
from diffusion_operator.kube.metadata import dressed
from diffusion_operator.kube.objects import (
    Key,
    Object,
    is_orphan_of,
    is_owned,
    key_of,
    owner_reference,
)
from diffusion_operator.kube.surplus import removals, surplus
from diffusion_operator.kube.timestamps import utc_now
from diffusion_operator.settings import ChildMetadata

logger = logging.getLogger(__name__)

T = TypeVar("T")

HOLD_BACK_SECONDS = 0.5
# A later first write of a status carries what would otherwise take three writes.
FIRST_HOLD_BACK_SECONDS = 2.0
# A foreign object carries no label, so its deletion wakes no reconciler.
LOOK_AGAIN_SECONDS = 15.0
# A RoleBinding needs its Role: for those who may not bind, the API server reads the Role first.
_AFTER = frozenset({"RoleBinding"})
# A create of these kinds comes first; its answer says whether the object existed before.
_CREATED_BLIND = frozenset({"ServiceAccount", "Deployment"})


class NameTakenError(Exception):
    """Foreign objects already have the names of children."""

    def __init__(self, owner: Mapping[str, Any], names: Sequence[str]) -> None:
        kind, several = owner["kind"], len(names) > 1
        verb, them = ("exist and are", "them") if several else ("exists and is", "it")
        super().__init__(
            f"{_listed(names)} {verb} not this {kind}'s: delete {them}, or give the {kind} another "
            "name"
        )
        self.names = names


class LeftoverError(Exception):
    """A child of a deleted owner has the name until garbage collection removes it."""


class Applier:
    """Writer of children and statuses that skips whatever is already as desired."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], str] = utc_now,
        children: ChildMetadata | None = None,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._clock = clock
        self._now = now
        self._children = children or ChildMetadata()
        self._last_write: dict[Key, float] = {}
        # Surplus that came back, by child.
        self._insisted: dict[Key, list[str]] = {}

    async def apply(
        self,
        owner: Mapping[str, Any],
        desired: Sequence[Object],
        prune: Sequence[Key] = (),
        after: Sequence[Object] = (),
        ahead: Sequence[Object] = (),
    ) -> list[Object]:
        """Apply the ``desired`` children concurrently and return them as the API server has them.

        The objects in ``after`` are applied first, since a child needs them from its first moment.
        The objects in ``ahead`` come before the desired ones, also in the result, and nothing else
        changes when the API server refuses one of them. The keys in ``prune`` are deleted once all
        their successors exist. No desired object is written when another one can't be, except that
        the API server's answer for a Deployment is known only after its write.

        Raises:
            NameTakenError: A foreign object has a child's name.
            LeftoverError: A deleted owner's child has the name.
            ApiError: The API server refused.
        """
        ahead, desired, after = (self._dressed(owner, each) for each in (ahead, desired, after))
        observed = await self._observe_all(owner, [*ahead, *desired], after)
        made = await self._apply_all(owner, ahead, observed[: len(ahead)])
        made += await self._apply_all(owner, desired, observed[len(ahead) :])
        await self.prune(owner, prune)
        return made

    def _dressed(self, owner: Mapping[str, Any], built: Iterable[Object]) -> list[Object]:
        """Children with the labels and annotations of the settings and of their owner."""
        return [dressed(owner, each, self._children) for each in built]

    async def _apply_all(
        self, owner: Mapping[str, Any], desired: Sequence[Object], observed: Sequence[Object | None]
    ) -> list[Object]:
        pairs = list(zip(desired, observed, strict=True))
        made: dict[int, Object | BaseException] = {}
        for after in (False, True):
            wave = [at for at, child in enumerate(desired) if (child["kind"] in _AFTER) is after]
            done = await _gather(self._apply_one(owner, *pairs[at]) for at in wave)
            made.update(zip(wave, done, strict=True))
            _results(done)
        return _results(made[at] for at in range(len(pairs)))

    async def _observe_all(
        self, owner: Mapping[str, Any], desired: Sequence[Object], after: Sequence[Object]
    ) -> list[Object | None]:
        """Observe the desired objects, once everything in ``after`` is up to date."""
        first, observed = await asyncio.gather(
            _gather(self._apply_dependency(owner, child) for child in after),
            _gather(self._observe(owner, child) for child in desired),
        )
        if any(isinstance(each, NameTakenError) for each in (*first, *observed)):
            await self._raise_all_taken(owner, [*after, *desired])
        _results(first)
        return _results(observed)

    async def _raise_all_taken(self, owner: Mapping[str, Any], desired: Sequence[Object]) -> None:
        """Name every child whose name is taken, since some are known only after a request.

        Raises:
            NameTakenError: A foreign object has a child's name.
        """
        observed = await _gather(self._owned(owner, key_of(child)) for child in desired)
        taken = [each for each in observed if isinstance(each, NameTakenError)]
        if taken:
            raise NameTakenError(owner, [name for each in taken for name in each.names])

    async def _apply_dependency(self, owner: Mapping[str, Any], desired: Object) -> Object:
        return await self._apply_one(owner, desired, await self._observe(owner, desired))

    async def _apply_one(
        self, owner: Mapping[str, Any], desired: Object, observed: Object | None
    ) -> Object:
        """Create or apply one child where the observed object is not up to date."""
        blind = desired["kind"] in _CREATED_BLIND
        if observed is None and blind:
            made = await self._cluster.create(desired)
            if made is not None:
                self._cache.record_write(made)
                return made
            observed = await self._owned(owner, key_of(desired))
        if observed is None or not is_up_to_date(desired, observed):
            if observed is not None and blind:
                await self._cluster.own_what_was_created(key_of(desired))
            observed = await self._server_side_apply(desired)
        return await self._without_surplus(desired, observed)

    async def _without_surplus(self, desired: Object, observed: Object) -> Object:
        """Remove the keys of others that a child must not have, and return the child."""
        key, pointers = key_of(desired), surplus(desired, observed)
        if not pointers or self._insisted.get(key) == pointers:
            return observed
        try:
            answer = await self._cluster.json_patch(key, removals(observed, pointers))
        except ApiError as error:
            if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            return observed  # a key has changed meanwhile, and its event wakes the reconciler
        self._cache.record_write(answer)
        left = surplus(desired, answer)
        if not left:
            self._insisted.pop(key, None)
            return answer
        # An admission webhook adds them to each write: another one would change nothing.
        self._insisted[key] = left
        logger.warning(
            "something adds %s to %s %s in %s again after each write",
            ", ".join(left),
            key.kind,
            key.name,
            key.namespace,
        )
        return answer

    async def prune(self, owner: Mapping[str, Any], keys: Sequence[Key]) -> None:
        """Delete the objects of these keys that exist and belong to the owner.

        Raises:
            ApiError: The API server refused.
        """
        for key in keys:
            observed = self._cache.get(key)
            if (
                observed is not None
                and is_owned(observed, owner)
                and "deletionTimestamp" not in observed["metadata"]
            ):
                await self._cluster.delete(observed)

    async def create_once(
        self,
        owner: Mapping[str, Any],
        desired: Object,
        after: Sequence[Object] = (),
        later: Sequence[Object] = (),
    ) -> Object:
        """Create the child unless it exists; an existing child (a Job, say) stays as it is.

        The objects in ``after`` come first. The objects in ``later`` follow, so that the child does
        not wait for what it needs later.

        Raises:
            NameTakenError, LeftoverError, ApiError: As ``apply`` does.
        """
        (desired,) = self._dressed(owner, [desired])
        after, later = (self._dressed(owner, each) for each in (after, later))
        observed, *others = await self._observe_all(owner, [desired, *later], after)
        if observed is None:
            observed = await self._server_side_apply(desired)
        observed = await self.adopt(owner, observed)
        await self._apply_all(owner, later, others)
        return observed

    async def adopt(self, owner: Mapping[str, Any], orphan: Object) -> Object:
        """Make ``owner`` the owner of its orphan; any other object stays as it is.

        Raises:
            ApiError: The API server refused, also where another object has the name now.
        """
        if not _is_orphan(orphan, owner) or not await self._exists(owner):
            return orphan
        same = {"op": "test", "path": "/metadata/uid", "value": orphan["metadata"]["uid"]}
        reference = [owner_reference(owner)]
        own = {"op": "add", "path": "/metadata/ownerReferences", "value": reference}
        answer = await self._cluster.json_patch(key_of(orphan), [same, own])
        self._cache.record_write(answer)
        return answer

    async def _exists(self, owner: Mapping[str, Any]) -> bool:
        """Whether the owner still exists and is not being deleted.

        A deletion may orphan the children before its own event comes. Garbage collection would
        delete a child that a deleted owner takes up again.
        """
        current = await self._cluster.get(key_of(owner))
        return (
            current is not None
            and current["metadata"]["uid"] == owner["metadata"]["uid"]
            and "deletionTimestamp" not in current["metadata"]
        )

    async def _server_side_apply(self, desired: Object) -> Object:
        answer = await self._cluster.apply(desired)
        self._cache.record_write(answer)
        return answer

    async def _observe(self, owner: Mapping[str, Any], desired: Object) -> Object | None:
        """Observe the child as far as its next write needs."""
        key = key_of(desired)
        if self._cache.get(key) is None and key.kind in _CREATED_BLIND:
            return None
        return await self._owned(owner, key)

    async def _owned(self, owner: Mapping[str, Any], key: Key) -> Object | None:
        """The existing object of that key, which must belong to the owner or to nobody."""
        # Informers see labelled objects only, so only a request proves that the name is free.
        observed = self._cache.get(key) or await self._cluster.get(key)
        if observed is None or is_owned(observed, owner):
            return observed
        owners = observed["metadata"].get("ownerReferences", ())
        name, kind = owner["metadata"]["name"], owner["kind"]
        what = f"{observed['kind']} {observed['metadata']['name']}"
        if _is_orphan(observed, owner):
            if await self._exists(owner):
                return observed
            raise LeftoverError(f"{kind} {name} is deleted and leaves {what}")
        if any(ref["kind"] == kind and ref["name"] == name for ref in owners):
            raise LeftoverError(f"{what} of the deleted {kind} {name} is still there")
        raise NameTakenError(owner, [what])

    async def apply_status(
        self, owner: Mapping[str, Any], status: Model, *, settled: bool = True
    ) -> float | None:
        """Apply the status where it differs from the stored one.

        A write that follows the last write, or the first sight of the resource, too closely is held
        back, so that many small changes become one write. The first write waits longer while the
        status has not ``settled``.

        Returns:
            Seconds after which to try again, if the write was held back.

        Raises:
            ApiError: The API server refused.
        """
        desired = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if desired == owner.get("status"):
            return None
        key = key_of(owner)
        first = not owner.get("status")
        back = FIRST_HOLD_BACK_SECONDS if first and not settled else HOLD_BACK_SECONDS
        early = self._last_write.setdefault(key, self._clock()) + back - self._clock()
        if early > 0:
            return early
        meta = owner["metadata"]
        body = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            # The uid keeps this status from a successor of the same name.
            "metadata": {k: meta[k] for k in ("name", "namespace", "uid")},
            "status": desired,
        }
        try:
            self._cache.record_write(await self._cluster.apply_status(body))
        except NotFoundError:  # the resource was deleted meanwhile
            self._cache.record_absence(key)
            return None
        self._last_write[key] = self._clock()
        await self._emit_events(owner, ObservedRun.of({"status": desired}))
        return None

    async def _emit_events(self, owner: Mapping[str, Any], status: ObservedRun) -> None:
        for event in news(owner, status, self._now()):
            await self._emit(event)

    async def leave(self, owner: Mapping[str, Any], holder: str) -> None:
        """Write nothing but an Event that names the release which reconciles the object."""
        await self._emit(left_alone(owner, holder, self._now()))

    async def _emit(self, event: Object) -> None:
        try:
            await self._cluster.create(event)
        except ApiError as error:  # the status carries the same facts, and of releases the log
            logger.warning(
                "can't create an Event about %s: %s",
                event["involvedObject"]["name"],
                message_of(error),
            )

    def forget(self, key: Key) -> None:
        """Drop the state of a deleted resource."""
        self._last_write.pop(key, None)


def _is_orphan(observed: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    return is_orphan_of(observed, owner, CUSTOM_KINDS[owner["kind"]].owner_label)


def _listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


async def _gather(doing: Iterable[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
    """Await all coroutines and return results and exceptions; a failure cancels none of the
    others.
    """
    return await asyncio.gather(*doing, return_exceptions=True)


def _results(outcomes: Iterable[T | BaseException]) -> list[T]:
    """Results of all coroutines; raises the first exception among them."""
    done = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        done.append(outcome)
    return done


def sooner(*delays: float | None) -> float | None:
    """Shortest of the delays; ``None`` stands for no delay."""
    return min((delay for delay in delays if delay is not None), default=None)
