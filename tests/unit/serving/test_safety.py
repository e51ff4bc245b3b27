"""The answers for blocked pictures on each route, in each mode."""

import asyncio
import base64
import io
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from PIL import Image

from verdicts import BLUE, RED, RedChecker
from waiting import settled

Make = Callable[..., Any]
BLUR = {"action": "Blur"}


@pytest.fixture
def checker(pipeline: Any) -> RedChecker:
    pipeline.checker = RedChecker()
    checker: RedChecker = pipeline.checker
    return checker


@pytest.fixture
def make(make_stack: Make, checker: RedChecker) -> Make:
    """Makes stacks whose pictures are checked."""
    return make_stack


def opened(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


async def predict(stack: Any, seed: int, **fields: Any) -> Any:
    headers = fields.pop("headers", {})
    return await stack.client.post(
        "/predict", json={"prompt": "secret", "seed": seed, **fields}, headers=headers
    )


async def test_blocked_picture_is_a_problem_that_says_so(make: Make) -> None:
    stack = make()
    answer = await predict(stack, RED)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    problem = answer.json()
    assert (problem["type"], problem["title"]) == ("/docs#blocked", "The image is blocked")
    assert "The image (seed 12582912) is blocked by the service's safety checker." in answer.text
    assert "Change the prompt or the seed" in problem["detail"]
    assert "secret" not in answer.text
    assert stack.sample("diffusion_rejected_total", reason="blocked") == 1
    passed = await predict(stack, BLUE)
    assert (passed.status_code, "blocked" in passed.json()) == (200, False)
    assert passed.json()["timings_ms"]["safety"] > 0
    assert "safety;dur=" in passed.headers["server-timing"]


async def test_one_blocked_image_of_several_refuses_the_request(make: Make) -> None:
    answer = await predict(make(), RED - 1, images=2)
    assert answer.status_code == 400
    assert "1 of 2 images (seed 12582912) is blocked" in answer.json()["detail"]


async def test_blur_says_which_images_are_blurred(make: Make) -> None:
    stack = make(safety=BLUR)
    answer = await predict(stack, BLUE)
    assert ("blocked" in answer.json(), "diffusion-blocked" in answer.headers) == (False, False)
    answer = await predict(stack, RED - 1, images=3)  # the first one is more blue than red
    assert answer.status_code == 200
    assert (answer.json()["blocked"], answer.headers["diffusion-blocked"]) == ([1, 2], "1, 2")
    sizes = {opened(base64.b64decode(image)).size for image in answer.json()["images"]}
    assert sizes == {(128, 96)}
    assert stack.sample("diffusion_rejected_total", reason="blocked") == 0
    assert stack.sample("diffusion_checked_images_total", verdict="blocked") == 2


@pytest.mark.parametrize("media", ["image/png", "image/jpeg", "image/webp"])
async def test_blurred_bytes_have_the_header(make: Make, media: str) -> None:
    answer = await predict(make(safety=BLUR), RED, headers={"Accept": media})
    assert (answer.status_code, answer.headers["diffusion-blocked"]) == (200, "0")
    assert opened(answer.content).size == (128, 96)
    assert b"trainedAlgorithmicMedia" in answer.content, "a blurred picture is marked, too"


async def test_openais_clients_meet_their_own_error(make: Make) -> None:
    stack = make()
    client = openai.AsyncOpenAI(
        base_url="http://test/v1", api_key="any", http_client=stack.client, max_retries=0
    )
    with pytest.raises(openai.BadRequestError) as raised:
        await client.images.generate(prompt="secret", extra_body={"seed": RED})
    assert (raised.value.code, raised.value.type) == (
        "content_policy_violation",
        "invalid_request_error",
    )
    assert "is blocked by the service's safety checker" in str(raised.value)


async def test_openais_clients_see_which_images_are_blurred(make: Make) -> None:
    stack = make(safety=BLUR)
    body = {"prompt": "secret", "seed": RED, "n": 2}
    answer = await stack.client.post("/v1/images/generations", json=body)
    assert (answer.status_code, answer.headers["diffusion-blocked"]) == (200, "0, 1")
    assert answer.json()["blocked"] == [0, 1]
    answer = await stack.client.post("/v1/images/generations", json=body | {"seed": BLUE})
    assert "blocked" not in answer.json()


@pytest.mark.parametrize("safety", [{}, BLUR])
async def test_event_stream_ends_with_the_verdict(make: Make, safety: dict[str, str]) -> None:
    stack = make(safety=safety)
    answer = await predict(stack, RED, headers={"Accept": "text/event-stream"})
    *steps, last = answer.text.strip().split("\n\n")
    assert len(steps) == 4
    name, _, data = last.partition("\n")
    document = json.loads(data.removeprefix("data: "))
    if safety:
        assert (name, document["blocked"]) == ("event: images", [0])
    else:
        assert (name, document["type"]) == ("event: problem", "/docs#blocked")


async def test_requests_of_one_batch_get_their_own_verdicts(make: Make, pipeline: Any) -> None:
    stack = make()
    pipeline.hold()
    sent = [asyncio.ensure_future(predict(stack, seed)) for seed in (BLUE, RED, BLUE + 1, RED)]
    await settled(lambda: stack.engine.queue_length + len(pipeline.prompts) == 4)
    pipeline.release()
    answers = await asyncio.gather(*sent)
    assert [answer.status_code for answer in answers] == [200, 400, 200, 400]
    assert max(len(batch) for batch in pipeline.batches) > 1


async def test_about_says_which_checker_is_active(make: Make, pipeline: Any) -> None:
    loading = make(start=False, safety=BLUR)
    about = (await loading.client.get("/about")).json()
    assert about["safety"] == {"checker": None, "action": "Blur"}
    about = (await make().client.get("/about")).json()
    assert about["safety"] == {"checker": "Model", "action": "Refuse"}
    pipeline.checker = None
    about = (await make().client.get("/about")).json()
    assert about["safety"]["checker"] == "None"


async def test_documentation_names_the_problem_the_header_and_the_field(make: Make) -> None:
    stack = make()
    page = (await stack.client.get("/docs")).text
    assert '<tr id="blocked"><td>400' in page
    document = (await stack.client.get("/openapi.json")).json()
    predict_, generations = (
        document["paths"][path]["post"]["responses"]
        for path in ("/predict", "/v1/images/generations")
    )
    for responses in (predict_, generations):
        assert "blocked" in responses["400"]["description"]
        assert "Diffusion-Blocked" in responses["200"]["headers"]
    assert "The body is not JSON" in predict_["400"]["description"]
    assert "blocked" in document["components"]["schemas"]["PredictResponse"]["properties"]
