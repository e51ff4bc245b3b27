"""Owners that an event enqueues."""

import asyncio
from typing import Any

from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import Key, Object
from diffusion_operator.manager.controller import Controller
from diffusion_operator.settings import Settings


class RecordingReconciler:
    """A reconciler that records the names of its objects, and signals the last one."""

    def __init__(self, until: str) -> None:
        self.names: list[str] = []
        self.finished = asyncio.Event()
        self._until = until

    async def __call__(self, key: Key) -> None:
        self.names.append(key.name)
        if key.name == self._until:
            self.finished.set()


class CreatedObjects:
    """The part of a cluster that records what is created."""

    def __init__(self) -> None:
        self.created: list[Object] = []

    async def create(self, obj: Object) -> Object:
        self.created.append(obj)
        return obj


async def test_children_enqueue_their_owners_only_once_all_owners_are_known(
    settings: Settings, service: Object
) -> None:
    cache = Cache({}, pods={}, jobs={}, tests={}, compared={}, revisions={})
    controller = Controller(None, cache, settings)  # type: ignore[arg-type] # no request is sent
    reconciler = RecordingReconciler(until="later")

    controller._reconcilers["DiffusionService"] = reconciler
    controller.start()

    def child_of(owner: str) -> Object:
        labels = {"diffusion.dev/service": owner}
        return {"metadata": {**service["metadata"], "name": "x", "labels": labels}}

    controller.on_child_event("Service", child_of("early"), deleted=False)
    controller.on_event("DiffusionService", service, deleted=False, listed=True)
    controller.on_child_event("Service", child_of("later"), deleted=False)
    await asyncio.wait_for(reconciler.finished.wait(), 5)
    assert reconciler.names == ["demo", "later"]
    await controller.finish()


async def test_a_written_child_that_a_newer_list_lacks_enqueues_its_owner(
    settings: Settings, service: Object
) -> None:
    cache = Cache({"Service": {}}, pods={}, jobs={}, tests={}, compared={}, revisions={})
    controller = Controller(None, cache, settings)  # type: ignore[arg-type] # no request is sent
    reconciler = RecordingReconciler(until="gone")

    def written(name: str, version: int, space: str = "shop") -> Key:
        labels = {"diffusion.dev/service": name}
        meta = {"name": name, "namespace": space, "uid": name, "labels": labels}
        cache.record_write(
            {"kind": "Service", "metadata": {**meta, "resourceVersion": str(version)}}
        )
        return Key("Service", space, name)

    gone, later = written("gone", 10), written("later", 30)
    there, elsewhere = written("there", 10), written("elsewhere", 10, "other")
    controller._reconcilers["DiffusionService"] = reconciler
    controller.start()
    controller.on_event("DiffusionService", service, deleted=False, listed=True)
    controller.on_list("Service", "shop", {"there"}, 20)
    await asyncio.wait_for(reconciler.finished.wait(), 5)
    assert cache.get(gone) is None
    assert all(cache.get(key) is not None for key in (later, there, elsewhere))
    assert reconciler.names == ["demo", "gone"]
    await controller.finish()


async def test_an_object_that_another_release_holds_is_left_alone_until_it_is_given_up(
    settings: Settings, service: Object
) -> None:
    place = service["metadata"]["namespace"], service["metadata"]["name"]
    kinds: dict[str, Any] = {kind: {} for kind in ("LoadTest", "Comparison")}
    cache = Cache(
        {**kinds, "DiffusionService": {place: [service]}},
        pods={},
        jobs={},
        tests={},
        compared={},
        revisions={},
    )
    held = {"shop"}
    cluster = CreatedObjects()
    controller = Controller(
        cluster,  # type: ignore[arg-type] # only creations are requests
        cache,
        settings,
        holder=lambda namespace: "other/op" if namespace in held else None,
    )
    reconciler = RecordingReconciler(until="demo")
    controller._reconcilers["DiffusionService"] = reconciler
    key = Key("DiffusionService", "shop", "demo")
    assert [await controller._reconcile(key) for _ in range(2)] == [None, None]
    assert reconciler.names == []
    (event,) = cluster.created
    assert (event["kind"], event["reason"]) == ("Event", "LeftToOtherRelease")
    assert event["involvedObject"]["uid"] == service["metadata"]["uid"]
    assert "release other/op of the operator reconciles this object" in event["message"]
    held.clear()
    controller.start()
    controller.enqueue_all()
    await asyncio.wait_for(reconciler.finished.wait(), 5)
    await controller.finish()
