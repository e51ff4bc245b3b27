"""Detection of objects that were deleted during a watch gap."""

from typing import Any

import pytest

from diffusion_operator.kube import resync as resync_module
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError
from diffusion_operator.kube.objects import Key
from diffusion_operator.kube.resync import Resync

Object = dict[str, Any]
Index = dict[tuple[str, str], list[Object]]


def deployment(name: str, uid: str = "", version: int = 1) -> Object:
    metadata = {"name": name, "namespace": "shop", "uid": uid or name}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {**metadata, "resourceVersion": str(version)},
    }


class Scene:
    """Deployments in the operator's index, and those on the API server."""

    def __init__(self, *known: Object) -> None:
        index: Index = {}
        for obj in known:
            index.setdefault(("shop", obj["metadata"]["name"]), []).append(obj)
        none: Index = {}
        more = dict.fromkeys(("pods", "jobs", "tests", "compared", "revisions"), none)
        self.cache = Cache({"Deployment": index}, **more)
        self.there: set[str] | None = {obj["metadata"]["uid"] for obj in known}
        self.refusals = 0
        self.lists_read = 0
        self.gone: list[tuple[str, str]] = []
        self.resync = Resync(
            self,  # type: ignore[arg-type] # a stand-in by shape
            self.cache,
            ("Deployment",),
            (),
            lambda kind, obj: self.gone.append((kind, obj["metadata"]["name"])),
        )

    async def uids(self, *_: object) -> set[str] | None:
        self.lists_read += 1
        if self.refusals:
            self.refusals -= 1
            raise ApiError(503, "Service Unavailable", "", None)
        return self.there

    def list(self, *uids: str) -> None:
        for uid in uids:
            self.resync.on_event(uid, listed=True, deleted=False)

    async def until_compared(self) -> None:
        """Waits for the comparison that has begun, if any."""
        if self.resync._task is not None:
            await self.resync._task

    def has(self, name: str) -> bool:
        return self.cache.get(Key("Deployment", "shop", name)) is not None


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resync_module, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(resync_module, "AGAIN_SECONDS", 0)


@pytest.fixture
def scene() -> Scene:
    return Scene(deployment("stays"), deployment("goes"))


async def test_objects_that_a_second_list_lacks_are_gone(scene: Scene) -> None:
    scene.list("stays", "goes")
    scene.there = {"stays"}
    scene.list("stays")
    await scene.until_compared()
    assert scene.gone == [("Deployment", "goes")]
    assert scene.has("stays")
    assert not scene.has("goes")


async def test_the_first_list_and_the_watch_need_no_comparison(scene: Scene) -> None:
    scene.list("stays", "goes")
    scene.resync.on_event("stays", listed=False, deleted=False)
    scene.resync.on_event("goes", listed=False, deleted=True)
    scene.list("goes")
    await scene.until_compared()
    assert scene.lists_read == 0


async def test_a_refused_list_is_read_again(scene: Scene) -> None:
    scene.list("stays")
    scene.there = {"stays"}
    scene.refusals = 2
    scene.list("stays")
    await scene.until_compared()
    assert scene.gone == [("Deployment", "goes")]


async def test_objects_of_a_kind_that_is_not_served_yet_are_not_gone(scene: Scene) -> None:
    scene.list("stays")
    scene.there = None
    scene.list("stays")
    await scene.until_compared()
    assert scene.gone == []
    assert scene.has("goes")


@pytest.mark.parametrize("newest_first", [True, False])
def test_the_newest_of_two_objects_of_one_name_is_known(newest_first: bool) -> None:
    both = [deployment("one", "new", version=9), deployment("one", "old", version=2)]
    both_known = Scene(*(both if newest_first else both[::-1]))
    one = both_known.cache.get(Key("Deployment", "shop", "one"))
    assert one is not None
    assert one["metadata"]["uid"] == "new"
