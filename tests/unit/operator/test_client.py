"""The client's reading of the API server's responses."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from diffusion_operator.kube import watch_stream
from diffusion_operator.kube.client import ApiError, Cluster, _retry_after, message_of
from diffusion_operator.kube.managed_fields import as_applied
from diffusion_operator.kube.objects import MANAGER, Key, Object


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "3"}, 3.0), ({}, None), ({"Retry-After": "soon"}, None)],
)
def test_retry_after_is_the_wait_that_the_api_server_asks_for(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert _retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (json.dumps({"message": "no such field"}), "no such field"),
        ("upstream is away", "upstream is away"),
        ("[]", "[]"),
    ],
)
def test_the_message_is_read_from_any_response(body: str, message: str) -> None:
    assert message_of(ApiError(500, "Internal Server Error", body, None)) == message


@dataclass
class Answers:
    """Stand-in for the connection: gives these bodies in turn, and records the requests."""

    bodies: list[Any]
    urls: list[str] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    configuration = SimpleNamespace(host="https://server")

    async def update_params_for_auth(self, *_: object) -> None:
        """Adds nothing: the stand-in authenticates no one."""

    async def call_api(self, _: str, url: str, *__: object, body: Any, **___: object) -> Any:
        self.urls.append(url)
        self.sent.append(body)
        answer = self.bodies.pop(0)

        async def read() -> bytes:
            return json.dumps(answer).encode()

        return SimpleNamespace(
            status=404 if answer is None else 200, reason="", headers={}, read=read
        )


def page(*uids: str, more: str = "") -> Any:
    items = [{"metadata": {"uid": uid}} for uid in uids]
    return {"metadata": {"continue": more} if more else {}, "items": items or None}


async def test_objects_of_a_kind_are_listed_page_by_page() -> None:
    api = Answers([page("a", "b", more="next"), page("c"), page()])
    cluster = Cluster(api)  # type: ignore[arg-type] # a stand-in by shape
    assert await cluster.uids("LoadTest", ["one", "two"]) == {"a", "b", "c"}
    paths = [urlsplit(url) for url in api.urls]
    assert [path.path.split("/")[-2] for path in paths] == ["one", "one", "two"]
    assert parse_qs(paths[1].query)["continue"] == ["next"]
    assert "continue" not in parse_qs(paths[2].query)


async def test_objects_of_a_kind_that_the_cluster_does_not_serve_are_unknown() -> None:
    cluster = Cluster(Answers([None]))  # type: ignore[arg-type] # a stand-in by shape
    assert await cluster.uids("LoadTest") is None


@pytest.mark.parametrize(
    ("status", "body", "known"),
    [
        (200, "{}", True),
        (404, json.dumps({"message": 'rayservices.ray.io "demo" not found'}), True),
        (404, "404 page not found\n", False),
    ],
)
async def test_the_absence_of_an_object_is_distinguished_from_that_of_its_kind(
    status: int, body: str, known: bool
) -> None:
    async def read() -> bytes:
        return body.encode()

    class Answer(Answers):
        async def call_api(self, *_: object, **__: object) -> Any:
            return SimpleNamespace(status=status, reason="", headers={}, read=read)

    cluster = Cluster(Answer([]))  # type: ignore[arg-type] # a stand-in by shape
    assert await cluster.knows_kind_of(Key("RayService", "shop", "demo")) is known


async def test_groups_are_listed_by_name_and_with_each_version() -> None:
    ray = {"name": "ray.io", "versions": [{"groupVersion": f"ray.io/{v}"} for v in ("v1", "v2")]}
    cluster = Cluster(Answers([{"groups": [ray]}]))  # type: ignore[arg-type] # a stand-in by shape
    assert await cluster.groups() == {"ray.io", "ray.io/v1", "ray.io/v2"}


async def test_children_are_listed_page_by_page_by_their_label() -> None:
    pages = [page("a", more="next"), page()]
    for number, each in enumerate(pages):
        each["metadata"]["resourceVersion"] = str(number)
    api = Answers(pages)
    cluster = Cluster(api)  # type: ignore[arg-type] # a stand-in by shape
    listed = [each async for each in cluster.pages("Deployment", "shop")]
    assert listed == [("0", [{"metadata": {"uid": "a"}}]), ("1", [])]
    queries = [parse_qs(urlsplit(url).query) for url in api.urls]
    assert [query.get("continue") for query in queries] == [None, ["next"]]
    assert {query["labelSelector"][0] for query in queries} == {
        "app.kubernetes.io/managed-by=diffusion-operator"
    }


async def test_a_new_object_of_the_same_name_is_not_deleted() -> None:
    api = Answers([{}])
    observed = {
        "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": "demo", "uid": "d-1"},
    }
    await Cluster(api).delete(observed)  # type: ignore[arg-type] # a stand-in by shape
    assert api.urls == ["https://server/apis/apps/v1/namespaces/shop/deployments/demo"]
    assert api.sent[0]["preconditions"] == {"uid": "d-1"}


def test_fields_that_an_earlier_release_created_and_then_applied_count_as_applied_once() -> None:
    def entry(operation: str, fields: Object, **more: str) -> Object:
        return {"manager": MANAGER, "operation": operation, "fieldsV1": fields, **more}

    status = entry("Apply", {"f:status": {}}, subresource="status")
    made = entry("Update", {"f:spec": {"f:replicas": {}, "f:paused": {}}})
    applied = entry("Apply", {"f:spec": {"f:replicas": {}, "f:minReadySeconds": {}}})
    both: Object = {"f:spec": {"f:replicas": {}, "f:paused": {}, "f:minReadySeconds": {}}}
    assert as_applied([made, status, applied]) == [status, entry("Apply", both)]
    assert as_applied([made]) == [entry("Apply", made["fieldsV1"])]
    assert as_applied([status, applied]) == [status, applied]


async def watched(*chunks: bytes, status: int = 200) -> list[tuple[str, Object]]:
    """Events that a watch yields from a response in these chunks."""

    async def iter_any() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def read() -> bytes:
        return b"".join(chunks)

    response = SimpleNamespace(content=SimpleNamespace(iter_any=iter_any), close=lambda: None)
    answer = SimpleNamespace(status=status, reason="", headers={}, read=read, response=response)

    class Watched(Answers):
        async def call_api(self, *_: object, **__: object) -> Any:
            return answer

    cluster = Cluster(Watched([]))  # type: ignore[arg-type] # a stand-in by shape
    return [event async for event in cluster.watch("ConfigMap", "shop", "1")]


def line(event_type: str, **obj: Any) -> bytes:
    return json.dumps({"type": event_type, "object": obj}).encode() + b"\n"


async def test_an_event_may_be_as_long_as_an_object_and_come_in_any_pieces() -> None:
    report = {"data": {"report": "x" * 900_000}}
    every = line("ADDED", **report) + line("DELETED", name="a")
    for size in (1000, 65_536, len(every)):
        chunks = [every[at : at + size] for at in range(0, len(every), size)]
        assert await watched(*chunks) == [("ADDED", report), ("DELETED", {"name": "a"})]


async def test_the_last_event_may_lack_its_end_of_line_but_is_not_half_of_one() -> None:
    both = line("ADDED", name="a") + line("ADDED", name="b")
    assert len(await watched(both.removesuffix(b"\n"))) == 2
    with pytest.raises(json.JSONDecodeError):
        await watched(both[:-6])


async def test_a_watch_ends_where_a_proxy_appends_its_error_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_stream, "SILENT_SECONDS", 0.2)
    event, received = line("ADDED", name="a"), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await received.wait()
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        configuration = Configuration(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with ApiClient(configuration) as api, asyncio.timeout(10):
            events = []
            async for seen in Cluster(api).watch("ConfigMap", "shop", "1"):
                events.append(seen)
                received.set()
            assert events == [("ADDED", {"name": "a"})]


async def test_an_expired_version_is_recognized_in_either_form() -> None:
    with pytest.raises(ApiError) as expired:
        await watched(line("ERROR", code=410, reason="Expired"))
    assert expired.value.status == 410
    with pytest.raises(ApiError) as refused:
        await watched(b"{}", status=410)
    assert refused.value.status == 410
