"""What kopf calls: indices that hold what people write, and events that wake a reconciler.

Only low-level event handlers are used: they write nothing to the objects (no finalizer, no
annotation), so a resource can be deleted, and stays as its author wrote it, with or without us.
"""

from typing import Any

import kopf

from diffusion_operator.api import API_VERSION, GROUP, VERSION
from diffusion_operator.cache import Cache, trimmed
from diffusion_operator.children import Children
from diffusion_operator.cluster import Cluster
from diffusion_operator.controller import Controller
from diffusion_operator.election import Candidate
from diffusion_operator.objects import COMPARISON_LABEL, Object, labels_of, target_of
from diffusion_operator.settings import read_settings
from diffusion_operator.unstored import NoDiffBase, NoProgress
from diffusion_operator.watches import Watches

# kind → (group, version, plural)
PRIMARY = {
    "DiffusionService": (GROUP, VERSION, "diffusionservices"),
    "LoadTest": (GROUP, VERSION, "loadtests"),
    "Comparison": (GROUP, VERSION, "comparisons"),
}

Indexed = dict[tuple[str, str], Object]


def _place(obj: kopf.Body, name: str) -> tuple[str, str]:
    return str(obj["metadata"]["namespace"]), name


def _index_by_name(kind: str) -> None:
    async def remember(body: kopf.Body, **_: Any) -> Indexed:
        return {_place(body, body["metadata"]["name"]): trimmed(body, kind, API_VERSION)}

    kopf.index(*PRIMARY[kind], id=kind)(remember)


for _kind in PRIMARY:
    _index_by_name(_kind)


@kopf.index(*PRIMARY["LoadTest"], id="tests_by_target")
async def tests_by_target(body: kopf.Body, **_: Any) -> Indexed | None:
    target = target_of(body)
    return {_place(body, target): trimmed(body, "LoadTest", API_VERSION)} if target else None


def _index_compared(kind: str) -> None:
    async def remember(body: kopf.Body, **_: Any) -> Indexed:
        owner = labels_of(body)[COMPARISON_LABEL]
        return {_place(body, owner): trimmed(body, kind, API_VERSION)}

    kopf.index(*PRIMARY[kind], id="compared", labels={COMPARISON_LABEL: kopf.PRESENT})(remember)


for _kind in ("DiffusionService", "LoadTest"):  # one index for both
    _index_compared(_kind)


def _wake_on_events(kind: str) -> None:
    async def seen(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
        controller: Controller = memo.controller
        # The object as it came: kopf's view of it looks up every field anew.
        said, obj = event["type"], event["object"]
        controller.saw(kind, obj, deleted=said == "DELETED", listed=said is None)

    kopf.on.event(*PRIMARY[kind], id=f"wake-{kind}")(seen)


for _kind in PRIMARY:
    _wake_on_events(_kind)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **indices: Any) -> None:
    settings.posting.enabled = False  # events are for people, and said by the reconcilers
    settings.scanning.disabled = True  # all kinds are known: no need to watch for new CRDs
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.watching.server_timeout = 300
    children = Children()
    cache = Cache(
        {**{kind: indices[kind] for kind in PRIMARY}, **children.by_name},
        pods=children.pods,
        jobs=children.jobs,
        tests=indices["tests_by_target"],
        compared=indices["compared"],
        revisions=children.revisions,
    )
    cluster = await Cluster.connect()
    memo.controller = Controller(cluster, cache, read_settings(), memo.namespaces)
    memo.watches = Watches(
        await Cluster.connect(connections=0),
        children,
        memo.namespaces,
        told=memo.controller,
        broken=memo.stop.set,
    )
    await memo.watches.start()
    if memo.lease:
        memo.candidate = Candidate(
            cluster.api, memo.lease, lead=memo.controller.start, lose=memo.stop.set
        )
        memo.candidate.start()
    else:
        memo.controller.start()


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:
    await memo.controller.finish()
    await memo.watches.stop()
    if memo.lease:
        await memo.candidate.resign()
    await memo.controller.close()
