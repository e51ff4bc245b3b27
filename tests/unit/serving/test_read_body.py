"""Bodies of requests: content type, size, time, and a client that leaves."""

import asyncio
from typing import Any

import pytest

from diffusion_serving.http.requests import read_body
from diffusion_serving.http.requests.read_body import MAX_BODY_BYTES
from problem_documents import assert_problem
from raw_request import post


async def test_broken_json_is_a_problem(make_stack: Any) -> None:
    answer = await make_stack().client.post(
        "/predict", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 400, "Send one JSON object")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_other_content_is_refused(make_stack: Any, headers: dict[str, str]) -> None:
    answer = await make_stack().client.post("/predict", content=b"{}", headers=headers)
    assert_problem(answer, 415, "Content-Type: application/json")


async def test_charset_of_json_is_fine(make_stack: Any) -> None:
    answer = await make_stack().client.post(
        "/predict",
        content=b'{"prompt": "x"}',
        headers={"Content-Type": "Application/JSON; charset=utf-8"},
    )
    assert answer.status_code == 200


async def test_declared_large_body_is_refused_before_it_is_read(make_stack: Any) -> None:
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    headers = [(b"content-type", b"application/json"), (b"content-length", b"10000000")]
    assert await post(make_stack().app, receive, headers) == 413
    assert read == 0


async def test_large_body_is_refused_while_it_is_read(make_stack: Any) -> None:
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        assert read < 100
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    assert await post(make_stack().app, receive, [(b"content-type", b"application/json")]) == 413
    assert read == MAX_BODY_BYTES // 65536 + 1


async def test_slow_body_is_refused(make_stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_body, "BODY_SECONDS", 0.01)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    assert await post(make_stack().app, receive, [(b"content-type", b"application/json")]) == 408


async def test_client_that_leaves_during_its_body_is_dropped(make_stack: Any) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    stack = make_stack()
    assert await post(stack.app, receive, [(b"content-type", b"application/json")]) == 499
