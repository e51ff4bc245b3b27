"""Every route in process, on a pipeline that needs no model."""

import asyncio
import base64
import io
import json
import re
from typing import Any

import pytest
from PIL import Image

from diffusion_serving.http.route_table import ROUTES
from diffusion_serving.http.ui.docs_files import DOCS_FILES
from diffusion_serving.http.ui.files import FILES as PAGE_FILES
from problem_documents import assert_problem
from raw_request import post
from waiting import settled


def pixel(file: bytes) -> Any:
    image = Image.open(io.BytesIO(file))
    image.load()
    return image.size, image.convert("RGB").getpixel((1, 1))


async def test_predict_answers_images_as_json(make_stack: Any) -> None:
    answer = await make_stack().client.post(
        "/predict", json={"prompt": "x", "seed": 70_000, "images": 2, "steps": 3}
    )
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"images", "format", "seed", "width", "height", "steps", "timings_ms"}
    assert (body["seed"], body["width"], body["height"], body["steps"]) == (70_000, 128, 96, 3)
    assert body["format"] == "png"
    files = [base64.b64decode(image) for image in body["images"]]
    assert [pixel(f) for f in files] == [((128, 96), (1, 17, 112)), ((128, 96), (1, 17, 113))]
    assert list(body["timings_ms"]) == ["queue", "text_encoder", "denoise", "vae", "encode"]
    assert body["timings_ms"]["denoise"] == 20.0
    stages = re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"])
    assert [name for name, _ in stages] == list(body["timings_ms"])


@pytest.mark.parametrize(
    ("media", "kind"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")]
)
async def test_predict_answers_the_bytes_of_an_image(
    make_stack: Any, media: str, kind: str
) -> None:
    answer = await make_stack().client.post(
        "/predict", json={"prompt": "x", "seed": 5}, headers={"Accept": media}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media
    assert answer.headers["diffusion-seed"] == "5"
    assert Image.open(io.BytesIO(answer.content)).format == kind


async def test_format_decides_how_images_in_json_are_encoded(make_stack: Any) -> None:
    answer = await make_stack().client.post("/predict", json={"prompt": "x", "format": "webp"})
    file = base64.b64decode(answer.json()["images"][0])
    assert Image.open(io.BytesIO(file)).format == "WEBP"


async def test_reported_random_seed_gives_the_image_again(make_stack: Any) -> None:
    client = make_stack().client
    first = (await client.post("/predict", json={"prompt": "x"})).json()
    again = (await client.post("/predict", json={"prompt": "x", "seed": first["seed"]})).json()
    assert first["images"] == again["images"]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": ""},
        {"prompt": 1},
        {"prompt": "x", "steps": 10_000},
        {"prompt": "x", "width": 100},
        {"prompt": "x", "surprise": 1},
    ],
)
async def test_bad_request_is_a_problem_and_the_next_one_is_served(
    make_stack: Any, fields: dict[str, Any]
) -> None:
    stack = make_stack()
    document = assert_problem(await stack.client.post("/predict", json=fields), 422)
    assert document["errors"]
    assert (await stack.client.post("/predict", json={"prompt": "x"})).status_code == 200
    assert stack.sample("diffusion_rejected_total", reason="invalid") == 1


async def test_client_that_hangs_up_in_the_queue_is_dropped(make_stack: Any, pipeline: Any) -> None:
    stack = make_stack()
    pipeline.hold()
    first = asyncio.create_task(stack.client.post("/predict", json={"prompt": "first"}))
    await settled(lambda: pipeline.entered.acquire(blocking=False))
    gone = asyncio.Event()
    bodies = iter([b'{"prompt": "left"}'])

    async def receive() -> dict[str, Any]:
        if (body := next(bodies, None)) is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    left = asyncio.create_task(post(stack.app, receive, [(b"content-type", b"application/json")]))
    await settled(lambda: stack.engine.queue_length == 1)
    gone.set()
    assert await left == 499
    assert stack.engine.queue_length == 0
    pipeline.release()
    assert (await first).status_code == 200
    assert pipeline.prompts == ["first"]
    assert stack.sample("diffusion_rejected_total", reason="hang_up") == 1


async def test_client_that_hangs_up_while_served_disturbs_no_other_request(
    make_stack: Any, pipeline: Any
) -> None:
    stack = make_stack()
    pipeline.hold()
    bodies = iter([b'{"prompt": "left"}'])

    async def receive() -> dict[str, Any]:
        if (body := next(bodies, None)) is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await settled(lambda: pipeline.entered.acquire(blocking=False))
        return {"type": "http.disconnect"}

    assert await post(stack.app, receive, [(b"content-type", b"application/json")]) == 499
    pipeline.release()
    assert (await stack.client.post("/predict", json={"prompt": "next"})).status_code == 200
    assert stack.sample("diffusion_rejected_total", reason="hang_up") == 0


async def test_a_request_that_is_refused_at_the_end_is_counted_once(
    make_stack: Any, pipeline: Any
) -> None:
    stack = make_stack()
    pipeline.hold()
    send = [asyncio.create_task(stack.client.post("/predict", json={"prompt": "runs"}))]
    await settled(lambda: pipeline.entered.acquire(blocking=False))
    send.append(asyncio.create_task(stack.client.post("/predict", json={"prompt": "waits"})))
    await settled(lambda: stack.engine.queue_length == 1)
    stack.service.give_up()
    assert [(await each).status_code for each in send] == [503, 503]
    assert stack.sample("diffusion_rejected_total", reason="not_ready") == 2
    assert stack.sample("diffusion_rejected_total", reason="hang_up") == 0


async def test_full_queue_is_429_with_a_time_to_retry(make_stack: Any, pipeline: Any) -> None:
    stack = make_stack(queue={"maxLength": 2})
    pipeline.hold()
    send = [asyncio.create_task(stack.client.post("/predict", json={"prompt": "x"}))]
    await settled(lambda: pipeline.entered.acquire(blocking=False))
    send += [
        asyncio.create_task(stack.client.post("/predict", json={"prompt": "x"})) for _ in range(2)
    ]
    await settled(lambda: stack.engine.queue_length == 2)
    refused = await stack.client.post("/predict", json={"prompt": "x"})
    assert_problem(refused, 429, "Try again in")
    assert int(refused.headers["retry-after"]) >= 1
    assert stack.sample("diffusion_queue_length") == 2
    assert stack.sample("diffusion_requests_in_flight") == 3, "one runs and two wait"
    assert stack.sample("diffusion_cost_in_flight") == 3
    assert stack.sample("diffusion_rejected_total", reason="queue_full") == 1
    pipeline.release()
    assert [answer.status_code for answer in await asyncio.gather(*send)] == [200] * 3
    assert stack.sample("diffusion_requests_in_flight") == 0
    assert stack.sample("diffusion_cost_in_flight") == 0


async def test_request_that_waits_too_long_is_504_while_the_engine_is_busy(
    make_stack: Any, pipeline: Any
) -> None:
    stack = make_stack(queue={"timeoutSeconds": 0.5})
    pipeline.hold()
    first = asyncio.create_task(stack.client.post("/predict", json={"prompt": "first"}))
    await settled(lambda: pipeline.entered.acquire(blocking=False))
    assert_problem(await stack.client.post("/predict", json={"prompt": "late"}), 504, "0.5 s")
    assert not first.done()
    pipeline.release()
    assert (await first).status_code == 200
    assert pipeline.prompts == ["first"]
    assert stack.sample("diffusion_rejected_total", reason="deadline") == 1


async def test_failure_of_the_engine_is_500_with_an_id_and_no_prompt(
    make_stack: Any, pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.failures["a secret wish"] = ValueError("a secret wish")
    answer = await make_stack().client.post("/predict", json={"prompt": "a secret wish"})
    document = assert_problem(answer, 500)
    assert document["error_id"] in document["detail"]
    assert document["error_id"] in [vars(record).get("error_id") for record in caplog.records]
    assert "secret" not in answer.text + repr([vars(record) for record in caplog.records])


async def test_unhandled_exception_is_500_and_its_message_is_kept_from_the_log(
    make_stack: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stack = make_stack()
    monkeypatch.setattr(stack.engine, "submit", lambda _: [].index("a secret wish"))  # type: ignore[arg-type]
    answer = await stack.client.post("/predict", json={"prompt": "a secret wish"})
    document = assert_problem(answer, 500)
    assert document["error_id"] in [vars(record).get("error_id") for record in caplog.records]
    assert "secret" not in answer.text + caplog.text


async def test_not_ready_until_the_warm_up_image_is_finished(
    make_stack: Any, pipeline: Any
) -> None:
    pipeline.hold()
    stack = make_stack(start=False)
    stack.engine.start()
    await settled(lambda: pipeline.entered.acquire(blocking=False))
    assert_problem(await stack.client.get("/readyz"), 503, "still loading")
    assert_problem(await stack.client.post("/predict", json={"prompt": "x"}), 503)
    assert (await stack.client.get("/healthz")).status_code == 200
    about = (await stack.client.get("/about")).json()
    assert (about["ready"], about["device"]) == (False, None)
    later = (await stack.client.get("/about")).json()
    assert later["uptime_seconds"] > about["uptime_seconds"] >= 0
    pipeline.release()
    stack.engine.ready.result(60)
    assert (await stack.client.get("/readyz")).status_code == 200
    assert stack.sample("diffusion_ready") == 1


async def test_draining_is_not_ready_but_still_serves_and_closes_connections(
    make_stack: Any,
) -> None:
    stack = make_stack()
    stack.service.drain()
    assert_problem(await stack.client.get("/readyz"), 503, "stopping")
    answer = await stack.client.post("/predict", json={"prompt": "x"})
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"
    assert (await stack.client.get("/healthz")).status_code == 200


async def test_dead_engine_is_not_alive(make_stack: Any) -> None:
    stack = make_stack()
    assert stack.engine.stop(10)
    assert_problem(await stack.client.get("/healthz"), 503, "restart")
    assert_problem(await stack.client.get("/readyz"), 503)


async def test_unknown_route_names_the_known_ones(make_stack: Any) -> None:
    assert_problem(await make_stack().client.get("/predit"), 404, "POST /predict")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_wrong_method_names_the_right_one(make_stack: Any, method: str) -> None:
    answer = await make_stack().client.request(method, "/predict")
    assert_problem(answer, 405, "POST")
    assert answer.headers["allow"] == "POST"


async def test_about_describes_the_server(make_stack: Any) -> None:
    about = (
        await make_stack(
            model={"path": "/models/demo", "source": "image:///models/demo"},
            limits={"maxSteps": 1000},
            batching={"maxSize": 4, "maxWaitMilliseconds": 5},
            generation={"steps": 7, "guidanceScale": 2.5, "scheduler": "euler", "height": 64},
        ).client.get("/about")
    ).json()
    assert (about["backend"], about["model"]) == ("fastapi", "/models/demo")
    assert about["source"] == "image:///models/demo"
    assert (about["ready"], about["device"], about["dtype"]) == (True, "cpu", "float32")
    assert about["scheduler"] == "euler"
    assert about["generation"] == {
        "steps": 7,
        "guidance_scale": 2.5,
        "width": 128,
        "height": 64,
        "scheduler": "euler",
    }
    assert about["limits"]["max_steps"] == 500
    assert about["batching"] == {
        "mode": "engine",
        "max_size": 4,
        "max_wait_milliseconds": 5,
        "scheduled": "calls",
        "step_seconds": None,
    }
    assert (about["devices"], about["compile"], about["loras"]) == (1, "none", [])
    ours = {"python", "torch", "diffusers", "transformers", "diffusion_serving"}
    assert set(about["versions"]) == {*ours, "fastapi"}


async def test_metrics_count_requests_and_hold_no_text_of_a_client(make_stack: Any) -> None:
    stack = make_stack()
    await stack.client.post("/predict?q=secret", json={"prompt": "secret", "images": 3})
    await stack.client.get("/secret")
    answer = await stack.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "secret" not in answer.text
    assert stack.sample("diffusion_requests_total", route="/predict", code="200") == 1
    assert stack.sample("diffusion_requests_total", route="other", code="404") == 1
    assert stack.sample("diffusion_request_seconds_count", route="/predict") == 1
    assert stack.sample("diffusion_images_total") == 3
    assert stack.sample("diffusion_batch_size_sum") == 3
    assert stack.sample("diffusion_queue_seconds_count") == 1
    for stage in ("text_encoder", "denoise", "vae", "encode"):
        assert stack.sample("diffusion_stage_seconds_count", stage=stage) == 1
    assert "diffusion_build_info{" in answer.text
    assert "process_resident_memory_bytes" in answer.text


async def test_request_is_logged_without_its_query_or_path(
    make_stack: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    stack = make_stack()
    await stack.client.post("/predict?prompt=secret", json={"prompt": "secret"})
    await stack.client.get("/secret")
    lines = [vars(r) for r in caplog.records if r.message == "request"]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/predict", 200),
        ("other", 404),
    ]
    assert "secret" not in repr(
        [vars(record) for record in caplog.records if record.name.startswith("diffusion")]
    )


async def test_root_leads_to_the_page(make_stack: Any) -> None:
    answer = await make_stack().client.get("/", follow_redirects=True)
    assert answer.status_code == 200
    assert answer.url.path == "/ui"


async def test_documentation_needs_no_other_host_and_can_be_read_without_a_script(
    make_stack: Any,
) -> None:
    stack = make_stack()
    page = await stack.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)|<style", page.text), "inline code needs 'unsafe'"
    links = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert {f"/{link}" for link in links} == set(DOCS_FILES)
    for link in links:
        assert (await stack.client.get(f"/{link}")).status_code == 200
    assert not re.search(r'(src|href)="(https?:)?//', page.text)
    for name in ("negative_prompt", "/predict", "up to 100"):
        assert name in page.text


async def test_problem_types_lead_to_their_explanation(make_stack: Any) -> None:
    stack = make_stack()
    problem = (await stack.client.get("/nope")).json()
    page, _, anchor = problem["type"].partition("#")
    assert f'id="{anchor}"' in (await stack.client.get(page)).text


async def test_openapi_describes_the_routes_that_are_served(make_stack: Any) -> None:
    document = (await make_stack().client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    for_people = {"/", "/docs", "/openapi.json", *PAGE_FILES, *DOCS_FILES}
    assert described == {(r.method, r.path) for r in ROUTES if r.path not in for_people}
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])
    statuses = set(document["paths"]["/predict"]["post"]["responses"])
    assert {"200", "400", "413", "415", "422", "429", "500", "503", "504"} <= statuses
