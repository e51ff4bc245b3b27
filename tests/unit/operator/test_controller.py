"""Whom an event wakes."""

import asyncio

from diffusion_operator.cache import Cache
from diffusion_operator.controller import Controller
from diffusion_operator.objects import Key, Object
from diffusion_operator.settings import Settings


async def test_children_wake_their_owners_only_once_all_owners_are_known(
    settings: Settings, service: Object
) -> None:
    cache = Cache({}, pods={}, jobs={}, tests={}, compared={}, revisions={})
    controller = Controller(None, cache, settings)  # type: ignore[arg-type] # none is asked
    looks: list[Key] = []
    looked = asyncio.Event()

    async def look(key: Key) -> None:
        looks.append(key)
        if key.name == "later":
            looked.set()

    controller._reconcilers["DiffusionService"] = look
    controller.start()

    def child_of(owner: str) -> Object:
        labels = {"diffusion.dev/service": owner}
        return {"metadata": {**service["metadata"], "name": "x", "labels": labels}}

    controller.saw_child("Service", child_of("early"), deleted=False)
    controller.saw("DiffusionService", service, deleted=False, listed=True)
    controller.saw_child("Service", child_of("later"), deleted=False)
    await asyncio.wait_for(looked.wait(), 5)
    assert [key.name for key in looks] == ["demo", "later"]
    await controller.finish()


async def test_what_was_written_and_went_before_a_list_wakes_its_owner(
    settings: Settings, service: Object
) -> None:
    cache = Cache({"Service": {}}, pods={}, jobs={}, tests={}, compared={}, revisions={})
    controller = Controller(None, cache, settings)  # type: ignore[arg-type] # none is asked
    looks: list[Key] = []
    looked = asyncio.Event()

    async def look(key: Key) -> None:
        looks.append(key)
        if key.name == "gone":
            looked.set()

    def written(name: str, version: int, space: str = "shop") -> Key:
        labels = {"diffusion.dev/service": name}
        meta = {"name": name, "namespace": space, "uid": name, "labels": labels}
        cache.wrote({"kind": "Service", "metadata": {**meta, "resourceVersion": str(version)}})
        return Key("Service", space, name)

    gone, later = written("gone", 10), written("later", 30)
    there, elsewhere = written("there", 10), written("elsewhere", 10, "other")
    controller._reconcilers["DiffusionService"] = look
    controller.start()
    controller.saw("DiffusionService", service, deleted=False, listed=True)
    controller.listed("Service", "shop", {"there"}, 20)
    await asyncio.wait_for(looked.wait(), 5)
    assert cache.get(gone) is None
    assert all(cache.get(key) is not None for key in (later, there, elsewhere))
    assert [key.name for key in looks] == ["demo", "gone"]
    await controller.finish()
