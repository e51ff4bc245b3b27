"""Informers: the children that they store, and the events that they report."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ServerDisconnectedError, SocketTimeoutError

from diffusion_operator.kube import informers as informers_module
from diffusion_operator.kube.client import ApiError, NotFoundError
from diffusion_operator.kube.informers import Informer, Informers
from diffusion_operator.kube.objects import Object, labels_of
from diffusion_operator.kube.store import ChildStores

Event = tuple[str, Object]


def deployment(name: str, version: int, uid: str = "", **labels: str) -> Object:
    metadata: Object = {"name": name, "namespace": "shop", "uid": uid or name}
    return {"metadata": {**metadata, "resourceVersion": str(version), "labels": labels}}


class Server:
    """Stand-in for the API server: plays its script, then sends nothing for ever."""

    def __init__(self) -> None:
        self.lists: list[tuple[str, list[Object]] | Exception] = []
        self.streams: list[list[Event | Exception]] = []
        self.watched_from: list[str] = []
        self.spaces: list[str] = []
        self.script_ended = asyncio.Event()
        self.forbidden = "?"
        self.closed = False

    async def pages(self, _: str, namespace: str) -> AsyncIterator[tuple[str, list[Object]]]:
        self.spaces.append(namespace)
        if namespace == self.forbidden:
            raise ApiError(403, "Forbidden", "", None)
        scripted = self.lists.pop(0) if self.lists else ("1", [])
        if isinstance(scripted, Exception):
            raise scripted
        version, objects = scripted
        for obj in objects:  # a page each
            yield version, [obj]
        yield version, []

    async def watch(self, _: str, __: str, version: str) -> AsyncIterator[Event]:
        self.watched_from.append(version)
        if not self.streams:
            self.script_ended.set()
            await asyncio.Event().wait()
        for event in self.streams.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        self.closed = True


class Scene:
    """An informer of Deployments, with its store and the events that it reports."""

    def __init__(self) -> None:
        self.server = Server()
        self.children = ChildStores()
        self.reported: list[tuple[str, bool]] = []
        self.owners: list[str] = []
        self.lists: list[tuple[set[str], int]] = []
        self.informer = Informer(
            self.server,  # type: ignore[arg-type] # a stand-in by shape
            "Deployment",
            "",
            self.children.store("Deployment"),
            self,
        )

    def on_child_event(self, kind: str, obj: Object, *, deleted: bool) -> None:
        assert kind
        self.reported.append((obj["metadata"]["name"], deleted))
        self.owners.append(labels_of(obj).get("owner", ""))

    def on_list(self, kind: str, namespace: str, uids: set[str], resource_version: int) -> None:
        assert (kind, namespace) == ("Deployment", "")
        self.lists.append((uids, resource_version))

    def known(self) -> dict[str, list[str]]:
        """The known versions of each name."""
        index = self.children.by_name["Deployment"]
        return {
            name: [obj["metadata"]["resourceVersion"] for obj in objects]
            for (_, name), objects in index.items()
        }

    async def until_script_ends(self) -> None:
        """Runs the informer until all of the script has happened."""
        running = asyncio.create_task(self.informer.run())
        await asyncio.wait_for(self.server.script_ended.wait(), 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class IgnoringHandler:
    """Handler that ignores all events."""

    def on_child_event(self, *_: object, deleted: bool) -> None: ...

    def on_list(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("RECONNECT_SECONDS", "UNSERVED_SECONDS"):
        monkeypatch.setattr(informers_module, pause, 0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_listed_objects_and_later_events_are_stored_and_reported(scene: Scene) -> None:
    scene.server.lists = [("10", [deployment("a", 3), deployment("b", 9)])]
    changed, gone = ("MODIFIED", deployment("a", 11)), ("DELETED", deployment("b", 12))
    scene.server.streams = [[changed, gone, ("ADDED", deployment("c", 13))]]
    await scene.until_script_ends()
    assert scene.known() == {"a": ["11"], "c": ["13"]}
    assert scene.reported == [("a", False), ("b", False), ("a", False), ("b", True), ("c", False)]


async def test_an_owner_that_loses_a_child_by_its_labels_is_notified(scene: Scene) -> None:
    scene.server.lists = [("10", [deployment("a", 3, owner="one")])]
    taken, freed = deployment("a", 11, owner="other"), deployment("a", 12)
    scene.server.streams = [[("MODIFIED", taken), ("MODIFIED", freed)]]
    await scene.until_script_ends()
    assert scene.owners == ["one", "one", "other", "other", ""]
    assert scene.known() == {"a": ["12"]}


@pytest.mark.parametrize(
    "end",
    [[], [ConnectionResetError("cut")], [ServerDisconnectedError()], [SocketTimeoutError("dead")]],
)
async def test_a_watch_that_ends_resumes_at_its_last_version(
    scene: Scene, end: list[Event | Exception]
) -> None:
    scene.server.lists = [("10", [])]
    bookmark = {"metadata": {"resourceVersion": "20"}}
    first = [("ADDED", deployment("a", 11)), ("BOOKMARK", bookmark), *end]
    scene.server.streams = [first, [("MODIFIED", deployment("a", 21))]]
    await scene.until_script_ends()
    assert scene.server.watched_from == ["10", "20", "21"]
    assert scene.server.spaces == [""]
    assert scene.reported == [("a", False), ("a", False)]


async def test_a_list_corrects_the_store_after_an_unexpected_failure(scene: Scene) -> None:
    unreadable = ("ADDED", {"metadata": {"uid": "without a name"}})
    scene.server.lists = [("10", []), ("30", [deployment("a", 11)])]
    scene.server.streams = [[unreadable], []]
    await scene.until_script_ends()
    assert scene.server.watched_from == ["10", "30", "30"]
    assert scene.known() == {"a": ["11"]}


async def test_objects_of_a_kind_go_and_come_with_its_definition(scene: Scene) -> None:
    gone = NotFoundError(404, "Not Found", "", None)
    scene.server.lists = [("10", [deployment("a", 3)]), gone, ("50", [deployment("b", 40)])]
    scene.server.streams = [[gone], []]
    await scene.until_script_ends()
    assert scene.reported == [("a", False), ("a", True), ("b", False)]
    assert scene.known() == {"b": ["40"]}


async def test_objects_deleted_in_a_history_that_is_gone_are_reported(scene: Scene) -> None:
    scene.server.lists = [
        ("10", [deployment("stays", 1), deployment("goes", 2)]),
        ("50", [deployment("stays", 1), deployment("comes", 40)]),
    ]
    scene.server.streams = [[ApiError(410, "Gone", "", None)], []]
    await scene.until_script_ends()
    assert scene.known() == {"stays": ["1"], "comes": ["40"]}
    assert ("goes", True) in scene.reported
    assert scene.lists == [({"stays", "goes"}, 10), ({"stays", "comes"}, 50)]
    assert scene.server.watched_from == ["10", "50", "50"]


async def test_a_list_that_is_refused_is_requested_again(scene: Scene) -> None:
    refused = ApiError(503, "Service Unavailable", "", None)
    scene.server.lists = [refused, refused, ("10", [deployment("a", 3)])]
    await scene.until_script_ends()
    assert scene.known() == {"a": ["3"]}


async def test_a_watch_that_keeps_failing_goes_on_and_is_logged_seldom(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.server.lists = [ApiError(403, "Forbidden", "", None)] * 1100
    scene.server.lists.append(("10", [deployment("a", 3)]))
    await scene.until_script_ends()
    assert scene.known() == {"a": ["3"]}
    assert 10 <= len(caplog.records) <= 20


async def test_an_unhandled_exception_of_an_informer_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_with_bug(_: Informer) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr(Informer, "run", run_with_bug)
    broken = asyncio.Event()
    informers = Informers(
        Server(),  # type: ignore[arg-type] # a stand-in by shape
        ChildStores(),
        (),
        handler=IgnoringHandler(),
        on_failure=broken.set,
    )
    starting = asyncio.create_task(informers.start())
    await asyncio.wait_for(broken.wait(), 5)
    starting.cancel()
    await informers.stop()
    message = "unhandled exception in an informer, exiting: OverflowError: too large"
    assert message in caplog.messages


async def test_a_kind_that_is_served_later_is_found_then(scene: Scene) -> None:
    scene.server.lists = [NotFoundError(404, "Not Found", "", None), ("10", [deployment("a", 3)])]
    await scene.until_script_ends()
    assert scene.known() == {"a": ["3"]}


async def test_an_object_that_replaces_one_of_its_name_is_known_alone(scene: Scene) -> None:
    scene.server.lists = [("10", [deployment("a", 3, "old")])]
    new, old = deployment("a", 12, "new"), deployment("a", 13, "old")
    scene.server.streams = [[("ADDED", new), ("DELETED", old)]]
    await scene.until_script_ends()
    assert scene.known() == {"a": ["12"]}


async def test_all_objects_are_known_once_the_informers_have_started() -> None:
    server = Server()
    server.lists = [("10", [deployment("a", 3)])] * 100
    children = ChildStores()
    informers = Informers(
        server,  # type: ignore[arg-type] # a stand-in by shape
        children,
        ["one", "two"],
        handler=IgnoringHandler(),
        on_failure=pytest.fail,
    )
    await asyncio.wait_for(informers.start(), 5)
    assert {"Deployment", "HTTPRoute"} <= {k for k, index in children.by_name.items() if index}
    assert server.spaces.count("one") == server.spaces.count("two") == len(server.spaces) / 2
    await informers.stop()
    assert server.closed


async def test_a_namespace_without_rights_holds_up_no_other() -> None:
    server = Server()
    server.forbidden = "secret"
    server.lists = [("10", [deployment("a", 3)])] * 100
    children = ChildStores()
    informers = Informers(
        server,  # type: ignore[arg-type] # a stand-in by shape
        children,
        ["secret", "shop"],
        handler=IgnoringHandler(),
        on_failure=pytest.fail,
    )
    await asyncio.wait_for(informers.start(), 5)
    assert children.by_name["Deployment"]
    await informers.stop()


def test_a_pod_is_indexed_by_the_owner_that_its_labels_name_and_moves_with_them() -> None:
    children = ChildStores()
    store = children.store("Pod")

    def owners() -> set[str]:
        return {name for _, name in children.pods}

    store.put(deployment("p", 1, **{"diffusion.dev/service": "demo"}))
    assert owners() == {"demo"}
    store.put(deployment("p", 2, **{"diffusion.dev/ray-head": "other"}))
    assert owners() == {"other"}
    store.put(deployment("p", 3))
    assert owners() == set()
    assert store.uids() == {"p"}


@pytest.mark.parametrize(
    ("kind", "label", "index"),
    [
        ("Job", "diffusion.dev/loadtest", "jobs"),
        ("ControllerRevision", "diffusion.dev/service", "revisions"),
    ],
)
def test_objects_that_are_read_by_their_owner_too_are_in_both_indices(
    kind: str, label: str, index: str
) -> None:
    children = ChildStores()
    store = children.store(kind)
    store.put(deployment("x", 1, **{label: "owner"}))
    owned: dict[Any, Any] = getattr(children, index)
    assert list(owned) == [("shop", "owner")]
    assert list(children.by_name[kind]) == [("shop", "x")]
    store.drop("x")
    assert not owned
    assert not children.by_name[kind]
