"""What has gone while a watch was lost."""

from typing import Any

import pytest

from diffusion_operator.kube import resync as relists
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
    """Deployments as the index has them, and as the API server does."""

    def __init__(self, *known: Object) -> None:
        index: Index = {}
        for obj in known:
            index.setdefault(("shop", obj["metadata"]["name"]), []).append(obj)
        none: Index = {}
        more = dict.fromkeys(("pods", "jobs", "tests", "compared", "revisions"), none)
        self.cache = Cache({"Deployment": index}, **more)
        self.there: set[str] | None = {obj["metadata"]["uid"] for obj in known}
        self.refusals = 0
        self.asked = 0
        self.gone: list[tuple[str, str]] = []
        self.relists = Resync(
            self,  # type: ignore[arg-type] # a stand-in by shape
            self.cache,
            ("Deployment",),
            (),
            lambda kind, obj: self.gone.append((kind, obj["metadata"]["name"])),
        )

    async def uids(self, *_: object) -> set[str] | None:
        self.asked += 1
        if self.refusals:
            self.refusals -= 1
            raise ApiError(503, "Service Unavailable", "", None)
        return self.there

    def list(self, *uids: str) -> None:
        for uid in uids:
            self.relists.on_event(uid, listed=True, deleted=False)

    async def looked(self) -> None:
        """Return when what was begun is done."""
        if self.relists._task is not None:
            await self.relists._task

    def has(self, name: str) -> bool:
        return self.cache.get(Key("Deployment", "shop", name)) is not None


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relists, "SETTLED_SECONDS", 0)
    monkeypatch.setattr(relists, "AGAIN_SECONDS", 0)


@pytest.fixture
def scene() -> Scene:
    return Scene(deployment("stays"), deployment("goes"))


async def test_what_a_second_list_lacks_is_gone(scene: Scene) -> None:
    scene.list("stays", "goes")
    scene.there = {"stays"}
    scene.list("stays")
    await scene.looked()
    assert scene.gone == [("Deployment", "goes")]
    assert scene.has("stays")
    assert not scene.has("goes")


async def test_the_first_list_and_the_watch_are_believed(scene: Scene) -> None:
    scene.list("stays", "goes")
    scene.relists.on_event("stays", listed=False, deleted=False)
    scene.relists.on_event("goes", listed=False, deleted=True)
    scene.list("goes")
    await scene.looked()
    assert scene.asked == 0


async def test_a_refusal_is_no_answer(scene: Scene) -> None:
    scene.list("stays")
    scene.there = {"stays"}
    scene.refusals = 2
    scene.list("stays")
    await scene.looked()
    assert scene.gone == [("Deployment", "goes")]


async def test_a_kind_that_is_not_served_yet_has_not_gone(scene: Scene) -> None:
    scene.list("stays")
    scene.there = None
    scene.list("stays")
    await scene.looked()
    assert scene.gone == []
    assert scene.has("goes")


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_two_of_one_name_the_newest_is_known(newest_first: bool) -> None:
    both = [deployment("one", "new", version=9), deployment("one", "old", version=2)]
    found = Scene(*(both if newest_first else both[::-1]))
    one = found.cache.get(Key("Deployment", "shop", "one"))
    assert one is not None
    assert one["metadata"]["uid"] == "new"
