"""Handlers that kopf calls at its start and end, and the indices of the custom resources.

The controller has the handlers of events.
"""

from typing import Any

import kopf

from diffusion_operator.api import API_VERSION
from diffusion_operator.kube.cache import Cache, trimmed
from diffusion_operator.kube.claims import Claims
from diffusion_operator.kube.client import Cluster
from diffusion_operator.kube.informers import Informers
from diffusion_operator.kube.kinds import CUSTOM_KINDS
from diffusion_operator.kube.leader_election import LeaderElector
from diffusion_operator.kube.objects import COMPARISON_LABEL, Object, labels_of
from diffusion_operator.kube.store import ChildStores
from diffusion_operator.loadtest.admission import place_of
from diffusion_operator.manager.controller import Controller, selector
from diffusion_operator.manager.kopf_storage import NoOpDiffBaseStorage, NoOpProgressStorage
from diffusion_operator.manager.startup import EndlessBackoff
from diffusion_operator.settings import read_settings

Indexed = dict[tuple[str, str], Object]


def _place(obj: kopf.Body, name: str) -> tuple[str, str]:
    return str(obj["metadata"]["namespace"]), name


def _index_by_name(kind: str) -> None:
    async def remember(body: kopf.Body, **_: Any) -> Indexed:
        return {_place(body, body["metadata"]["name"]): trimmed(body, kind, API_VERSION)}

    kopf.index(*selector(kind), id=kind)(remember)


for _kind in CUSTOM_KINDS:
    _index_by_name(_kind)


@kopf.index(*selector("LoadTest"), id="tests_by_target")
async def tests_by_target(body: kopf.Body, **_: Any) -> Indexed | None:
    place = place_of(body)
    return {place: trimmed(body, "LoadTest", API_VERSION)} if place else None


def _index_compared(kind: str) -> None:
    async def remember(body: kopf.Body, **_: Any) -> Indexed:
        owner = labels_of(body)[COMPARISON_LABEL]
        return {_place(body, owner): trimmed(body, kind, API_VERSION)}

    kopf.index(*selector(kind), id="compared", labels={COMPARISON_LABEL: kopf.PRESENT})(remember)


for _kind in ("DiffusionService", "LoadTest"):  # both kinds share one index
    _index_compared(_kind)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **indices: Any) -> None:
    settings.posting.enabled = False  # reconcilers write Events themselves
    settings.scanning.disabled = True  # all kinds are known beforehand
    settings.persistence.diffbase_storage = NoOpDiffBaseStorage()
    settings.persistence.progress_storage = NoOpProgressStorage()
    settings.watching.server_timeout = 300
    settings.networking.error_backoffs = EndlessBackoff()
    stores = ChildStores()
    cache = Cache(
        {**{kind: indices[kind] for kind in CUSTOM_KINDS}, **stores.by_name},
        pods=stores.pods,
        jobs=stores.jobs,
        tests=indices["tests_by_target"],
        compared=indices["compared"],
        revisions=stores.revisions,
    )
    cluster = await Cluster.connect()
    claims = Claims(cluster, memo.lease or "", memo.namespaces)
    memo.controller = Controller(
        cluster,
        cache,
        read_settings(),
        memo.namespaces,
        on_failure=memo.stop.set,
        holder=claims.holder,
    )
    memo.informers = Informers(
        await Cluster.connect(connections=0),
        stores,
        memo.namespaces,
        handler=memo.controller,
        on_failure=memo.stop.set,
    )
    await memo.informers.start()
    if memo.lease:
        memo.claims = claims
        memo.elector = LeaderElector(
            cluster.api,
            memo.lease,
            lead=lambda: claims.start(
                memo.controller.start, memo.controller.enqueue_all, lambda: _lose(memo)
            ),
            lose=lambda: _lose(memo),
        )
        memo.elector.start()
    else:
        memo.controller.start()


def _lose(memo: kopf.Memo) -> None:
    """Stop to write at once; kopf's own end takes a while."""
    memo.claims.stop()
    memo.controller.halt()
    memo.stop.set()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    if memo.lease:
        memo.claims.stop()
    await memo.controller.finish()
    await memo.informers.stop()
    if memo.lease:
        await memo.elector.resign()
    await memo.controller.close()
