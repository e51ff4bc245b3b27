"""What the operator's own watches know of the children, and tell of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ServerDisconnectedError, SocketTimeoutError

from diffusion_operator.kube import informers as watches
from diffusion_operator.kube.client import ApiError, NotFoundError
from diffusion_operator.kube.informers import Informer, Informers
from diffusion_operator.kube.objects import Object, labels_of
from diffusion_operator.kube.store import ChildStores

Event = tuple[str, Object]


def deployment(name: str, version: int, uid: str = "", **labels: str) -> Object:
    metadata: Object = {"name": name, "namespace": "shop", "uid": uid or name}
    return {"metadata": {**metadata, "resourceVersion": str(version), "labels": labels}}


class Server:
    """Stands in for the API server: gives what it is scripted to, then nothing for ever."""

    def __init__(self) -> None:
        self.lists: list[tuple[str, list[Object]] | Exception] = []
        self.streams: list[list[Event | Exception]] = []
        self.watched_from: list[str] = []
        self.spaces: list[str] = []
        self.all_said = asyncio.Event()
        self.forbidden = "?"
        self.closed = False

    async def pages(self, _: str, namespace: str) -> AsyncIterator[tuple[str, list[Object]]]:
        self.spaces.append(namespace)
        if namespace == self.forbidden:
            raise ApiError(403, "Forbidden", "", None)
        found = self.lists.pop(0) if self.lists else ("1", [])
        if isinstance(found, Exception):
            raise found
        version, objects = found
        for obj in objects:  # a page each
            yield version, [obj]
        yield version, []

    async def watch(self, _: str, __: str, version: str) -> AsyncIterator[Event]:
        self.watched_from.append(version)
        if not self.streams:
            self.all_said.set()
            await asyncio.Event().wait()
        for event in self.streams.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        self.closed = True


class Scene:
    """A watch of Deployments, what it keeps and what it tells."""

    def __init__(self) -> None:
        self.server = Server()
        self.children = ChildStores()
        self.told: list[tuple[str, bool]] = []
        self.owners: list[str] = []
        self.lists: list[tuple[set[str], int]] = []
        self.watch = Informer(
            self.server,  # type: ignore[arg-type] # a stand-in by shape
            "Deployment",
            "",
            self.children.store("Deployment"),
            self,
        )

    def on_child_event(self, kind: str, obj: Object, *, deleted: bool) -> None:
        assert kind
        self.told.append((obj["metadata"]["name"], deleted))
        self.owners.append(labels_of(obj).get("owner", ""))

    def on_list(self, kind: str, namespace: str, uids: set[str], resource_version: int) -> None:
        assert (kind, namespace) == ("Deployment", "")
        self.lists.append((uids, resource_version))

    def known(self) -> dict[str, list[str]]:
        """The versions known of each name."""
        index = self.children.by_name["Deployment"]
        return {
            name: [obj["metadata"]["resourceVersion"] for obj in found]
            for (_, name), found in index.items()
        }

    async def until_all_is_said(self) -> None:
        """Run it until all that is scripted has happened."""
        running = asyncio.create_task(self.watch.run())
        await asyncio.wait_for(self.server.all_said.wait(), 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Deaf:
    """Is told in vain."""

    def on_child_event(self, *_: object, deleted: bool) -> None: ...

    def on_list(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("RECONNECT_SECONDS", "UNSERVED_SECONDS"):
        monkeypatch.setattr(watches, pause, 0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_what_is_listed_and_what_happens_after_is_known_and_told(scene: Scene) -> None:
    scene.server.lists = [("10", [deployment("a", 3), deployment("b", 9)])]
    changed, gone = ("MODIFIED", deployment("a", 11)), ("DELETED", deployment("b", 12))
    scene.server.streams = [[changed, gone, ("ADDED", deployment("c", 13))]]
    await scene.until_all_is_said()
    assert scene.known() == {"a": ["11"], "c": ["13"]}
    assert scene.told == [("a", False), ("b", False), ("a", False), ("b", True), ("c", False)]


async def test_who_loses_a_child_by_its_labels_is_told(scene: Scene) -> None:
    scene.server.lists = [("10", [deployment("a", 3, owner="one")])]
    taken, freed = deployment("a", 11, owner="other"), deployment("a", 12)
    scene.server.streams = [[("MODIFIED", taken), ("MODIFIED", freed)]]
    await scene.until_all_is_said()
    assert scene.owners == ["one", "one", "other", "other", ""]
    assert scene.known() == {"a": ["12"]}


@pytest.mark.parametrize(
    "end",
    [[], [ConnectionResetError("cut")], [ServerDisconnectedError()], [SocketTimeoutError("dead")]],
)
async def test_a_watch_that_ends_goes_on_from_where_it_was(
    scene: Scene, end: list[Event | Exception]
) -> None:
    scene.server.lists = [("10", [])]
    bookmark = {"metadata": {"resourceVersion": "20"}}
    first = [("ADDED", deployment("a", 11)), ("BOOKMARK", bookmark), *end]
    scene.server.streams = [first, [("MODIFIED", deployment("a", 21))]]
    await scene.until_all_is_said()
    assert scene.server.watched_from == ["10", "20", "21"]
    assert scene.server.spaces == [""]
    assert scene.told == [("a", False), ("a", False)]


async def test_after_an_unexpected_failure_a_list_puts_it_right(scene: Scene) -> None:
    unreadable = ("ADDED", {"metadata": {"uid": "without a name"}})
    scene.server.lists = [("10", []), ("30", [deployment("a", 11)])]
    scene.server.streams = [[unreadable], []]
    await scene.until_all_is_said()
    assert scene.server.watched_from == ["10", "30", "30"]
    assert scene.known() == {"a": ["11"]}


async def test_what_there_was_of_a_kind_goes_and_comes_with_its_definition(scene: Scene) -> None:
    gone = NotFoundError(404, "Not Found", "", None)
    scene.server.lists = [("10", [deployment("a", 3)]), gone, ("50", [deployment("b", 40)])]
    scene.server.streams = [[gone], []]
    await scene.until_all_is_said()
    assert scene.told == [("a", False), ("a", True), ("b", False)]
    assert scene.known() == {"b": ["40"]}


async def test_what_went_in_a_history_that_is_gone_is_told(scene: Scene) -> None:
    scene.server.lists = [
        ("10", [deployment("stays", 1), deployment("goes", 2)]),
        ("50", [deployment("stays", 1), deployment("comes", 40)]),
    ]
    scene.server.streams = [[ApiError(410, "Gone", "", None)], []]
    await scene.until_all_is_said()
    assert scene.known() == {"stays": ["1"], "comes": ["40"]}
    assert ("goes", True) in scene.told
    assert scene.lists == [({"stays", "goes"}, 10), ({"stays", "comes"}, 50)]
    assert scene.server.watched_from == ["10", "50", "50"]


async def test_a_list_that_is_refused_is_asked_for_again(scene: Scene) -> None:
    refused = ApiError(503, "Service Unavailable", "", None)
    scene.server.lists = [refused, refused, ("10", [deployment("a", 3)])]
    await scene.until_all_is_said()
    assert scene.known() == {"a": ["3"]}


async def test_a_watch_that_goes_on_failing_goes_on_and_is_told_of_seldom(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.server.lists = [ApiError(403, "Forbidden", "", None)] * 1100
    scene.server.lists.append(("10", [deployment("a", 3)]))
    await scene.until_all_is_said()
    assert scene.known() == {"a": ["3"]}
    assert 10 <= len(caplog.records) <= 20


async def test_a_watch_that_ends_by_a_mistake_is_told_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistaken(_: Informer) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr(Informer, "run", mistaken)
    broken = asyncio.Event()
    every = Informers(Server(), ChildStores(), (), handler=Deaf(), on_failure=broken.set)  # type: ignore[arg-type] # a stand-in by shape
    starting = asyncio.create_task(every.start())
    await asyncio.wait_for(broken.wait(), 5)
    starting.cancel()
    await every.stop()
    message = "unhandled exception in an informer, exiting: OverflowError: too large"
    assert message in caplog.messages


async def test_a_kind_that_is_served_later_is_found_then(scene: Scene) -> None:
    scene.server.lists = [NotFoundError(404, "Not Found", "", None), ("10", [deployment("a", 3)])]
    await scene.until_all_is_said()
    assert scene.known() == {"a": ["3"]}


async def test_one_that_was_made_again_under_its_name_is_known_alone(scene: Scene) -> None:
    scene.server.lists = [("10", [deployment("a", 3, "old")])]
    new, old = deployment("a", 12, "new"), deployment("a", 13, "old")
    scene.server.streams = [[("ADDED", new), ("DELETED", old)]]
    await scene.until_all_is_said()
    assert scene.known() == {"a": ["12"]}


async def test_all_is_known_once_the_watches_have_started() -> None:
    server = Server()
    server.lists = [("10", [deployment("a", 3)])] * 100
    children = ChildStores()
    every = Informers(server, children, ["one", "two"], handler=Deaf(), on_failure=pytest.fail)  # type: ignore[arg-type] # a stand-in by shape
    await asyncio.wait_for(every.start(), 5)
    assert {"Deployment", "HTTPRoute"} <= {k for k, index in children.by_name.items() if index}
    assert server.spaces.count("one") == server.spaces.count("two") == len(server.spaces) / 2
    await every.stop()
    assert server.closed


async def test_a_namespace_without_rights_holds_up_no_other() -> None:
    server = Server()
    server.forbidden = "secret"
    server.lists = [("10", [deployment("a", 3)])] * 100
    children = ChildStores()
    every = Informers(server, children, ["secret", "shop"], handler=Deaf(), on_failure=pytest.fail)  # type: ignore[arg-type] # a stand-in by shape
    await asyncio.wait_for(every.start(), 5)
    assert children.by_name["Deployment"]
    await every.stop()


def test_a_pod_is_found_by_whichever_owner_it_names_and_moves_with_its_labels() -> None:
    children = ChildStores()
    kept = children.store("Pod")

    def owners() -> set[str]:
        return {name for _, name in children.pods}

    kept.put(deployment("p", 1, **{"diffusion.dev/service": "demo"}))
    assert owners() == {"demo"}
    kept.put(deployment("p", 2, **{"diffusion.dev/ray-head": "other"}))
    assert owners() == {"other"}
    kept.put(deployment("p", 3))
    assert owners() == set()
    assert kept.uids() == {"p"}


@pytest.mark.parametrize(
    ("kind", "label", "index"),
    [
        ("Job", "diffusion.dev/loadtest", "jobs"),
        ("ControllerRevision", "diffusion.dev/service", "revisions"),
    ],
)
def test_what_is_asked_for_by_its_owner_too_is_in_both_indices(
    kind: str, label: str, index: str
) -> None:
    children = ChildStores()
    kept = children.store(kind)
    kept.put(deployment("x", 1, **{label: "owner"}))
    owned: dict[Any, Any] = getattr(children, index)
    assert list(owned) == [("shop", "owner")]
    assert list(children.by_name[kind]) == [("shop", "x")]
    kept.drop("x")
    assert not owned
    assert not children.by_name[kind]
