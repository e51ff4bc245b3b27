"""The page at /ui, and the events that show it a request's progress."""

import asyncio
import json
import re
from typing import Any

from diffusion_serving.http.route_table import Endpoint
from waiting import settled

EVENTS = {"Accept": "text/event-stream"}


def events(text: str) -> list[tuple[str, Any]]:
    """The name and the data of each event."""
    fields = [
        dict(line.split(": ", 1) for line in part.splitlines())
        for part in text.split("\n\n")
        if part
    ]
    return [(each["event"], json.loads(each["data"])) for each in fields]


async def test_events_report_each_step_and_end_with_the_images(make_stack: Any) -> None:
    body = {"prompt": "x", "steps": 3, "seed": 7}
    stack = make_stack()
    answer = await stack.client.post("/predict", json=body, headers=EVENTS)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    received = events(answer.text)
    assert received[:-1] == [("step", {"step": step, "steps": 3}) for step in (1, 2, 3)]
    name, data = received[-1]
    plain = (await stack.client.post("/predict", json=body)).json()
    assert (name, data["images"], data["seed"]) == ("images", plain["images"], 7)


async def test_a_request_that_fails_after_its_steps_ends_with_the_problem(
    make_stack: Any, pipeline: Any
) -> None:
    pipeline.late_failures["bad"] = RuntimeError("no")
    body = {"prompt": "bad", "steps": 2}
    answer = await make_stack().client.post("/predict", json=body, headers=EVENTS)
    assert answer.status_code == 200
    *steps, (name, data) = events(answer.text)
    assert [name for name, _ in steps][:2] == ["step", "step"]
    assert (name, data["status"]) == ("problem", 500)


async def test_a_request_that_fails_before_a_step_is_answered_with_its_status(
    make_stack: Any, pipeline: Any
) -> None:
    pipeline.failures["bad"] = RuntimeError("no")
    answer = await make_stack().client.post("/predict", json={"prompt": "bad"}, headers=EVENTS)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_full_queue_is_answered_with_a_time_to_retry(
    make_stack: Any, pipeline: Any
) -> None:
    stack = make_stack(queue={"maxLength": 1})
    pipeline.hold()
    running = asyncio.create_task(stack.client.post("/predict", json={"prompt": "first"}))
    assert await asyncio.to_thread(pipeline.entered.acquire, timeout=60)
    waiting = asyncio.create_task(stack.client.post("/predict", json={"prompt": "second"}))
    await settled(lambda: stack.engine.queue_length > 0)
    answer = await stack.client.post("/predict", json={"prompt": "third"}, headers=EVENTS)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert stack.sample("diffusion_rejected_total", reason="queue_full") == 1
    pipeline.release()
    await asyncio.gather(running, waiting)


async def test_a_bad_request_is_refused_before_any_event(make_stack: Any) -> None:
    answer = await make_stack().client.post("/predict", json={"prompt": ""}, headers=EVENTS)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_client_that_leaves_while_queued_is_not_served(
    make_stack: Any, pipeline: Any
) -> None:
    stack = make_stack()
    pipeline.hold()
    first = asyncio.create_task(stack.client.post("/predict", json={"prompt": "first"}))
    await settled(lambda: "first" in pipeline.prompts)
    gone = asyncio.Event()
    body = json.dumps({"prompt": "left"}).encode()
    left = stack.service.read(stack.service.readers[Endpoint.PREDICT], body, None)
    stream = asyncio.create_task(_all(stack.service.events(*left, gone.wait)))
    await settled(lambda: stack.engine.queue_length > 0)
    gone.set()
    assert await stream == []
    pipeline.release()
    await first
    assert "left" not in pipeline.prompts


async def _all(stream: Any) -> list[bytes]:
    return [chunk async for chunk in stream]


async def test_the_page_loads_nothing_from_elsewhere(make_stack: Any) -> None:
    client = make_stack().client
    page = await client.get("/ui")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in re.findall(r'(?:src|href)="(ui/[^"]+)"', page.text):
        assert (await client.get(f"/{path}")).status_code == 200
    assert not re.search(r'(src|href|action)="(https?:)?//', page.text)
    assert not re.search(r"<script(?! type=\"module\" src=)|style=|onclick=", page.text)


async def test_the_page_needs_no_key_but_its_requests_do(make_stack: Any, tmp_path: Any) -> None:
    (tmp_path / "key").write_text("secret")
    client = make_stack(auth={"apiKeyFile": str(tmp_path / "key")}).client
    assert (await client.get("/ui")).status_code == 200
    assert (await client.get("/ui/page.js")).status_code == 200
    assert (await client.post("/predict", json={"prompt": "x"}, headers=EVENTS)).status_code == 401
