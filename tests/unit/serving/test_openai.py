"""OpenAI's own client against the routes, in process."""

import asyncio
import base64
import io
import urllib.request
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from PIL import Image

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.http.requests.openai import base_names
from waiting import settled

LORAS = [{"name": "ink", "path": "/l/ink", "scale": 0.8}, {"name": "oil", "path": "/l/oil"}]
MODEL = {"path": "/models/store/0a", "source": "hf://acme/tiny-sd", "loras": LORAS}


@pytest.fixture
def connect(make_stack: Any) -> Any:
    """Makes a stack, and OpenAI's client of it that does not retry."""

    def connect(key: str = "none", **document: Any) -> tuple[Any, openai.AsyncOpenAI]:
        stack = make_stack(**{"model": MODEL, **document})
        transport = httpx2.ASGITransport(app=stack.app)
        return stack, openai.AsyncOpenAI(
            api_key=key,
            base_url="http://test/v1",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=transport),
        )

    return connect


def opened(file: bytes) -> Any:
    image = Image.open(io.BytesIO(file))
    image.load()
    return image


async def test_client_generates_an_image_in_the_size_it_asks_for(connect: Any) -> None:
    _, client = connect()
    answer = await client.images.generate(prompt="x", size="256x192", response_format="b64_json")
    assert answer.created > 1_700_000_000
    assert (answer.size, answer.output_format, answer.background) == ("256x192", "png", "opaque")
    (image,) = answer.data
    picture = opened(base64.b64decode(image.b64_json))
    assert (picture.format, picture.size) == ("PNG", (256, 192))
    assert image.url is None


async def test_client_that_asks_for_nothing_gets_the_defaults(connect: Any) -> None:
    _, client = connect()
    for model in (None, "tiny-sd", "acme/tiny-sd", "hf://acme/tiny-sd", "gpt-image-1", "dall-e-3"):
        options = {} if model is None else {"model": model}
        (image,) = (await client.images.generate(prompt="x", **options)).data
        assert opened(base64.b64decode(image.b64_json)).size == (128, 96)


async def test_several_images_have_seeds_that_follow_each_other(connect: Any) -> None:
    _, client = connect()
    answer = await client.images.generate(prompt="x", n=3, extra_body={"seed": 70_000})
    colours = [opened(base64.b64decode(image.b64_json)).getpixel((0, 0)) for image in answer.data]
    assert colours == [(1, 17, 112), (1, 17, 113), (1, 17, 114)]


async def test_url_is_a_data_url_that_opens(connect: Any) -> None:
    _, client = connect()
    answer = await client.images.generate(
        prompt="x", response_format="url", output_format="webp", size="auto"
    )
    (image,) = answer.data
    assert image.b64_json is None
    response = await asyncio.to_thread(urllib.request.urlopen, image.url)
    assert response.headers["content-type"] == "image/webp"
    assert opened(response.read()).format == "WEBP"


async def test_compression_is_the_quality_of_a_lossy_format(connect: Any) -> None:
    _, client = connect()

    async def size(output_format: Any, **options: Any) -> int:
        answer = await client.images.generate(
            prompt="x", output_format=output_format, extra_body={"seed": 70_000}, **options
        )
        return len(answer.data[0].b64_json)

    assert await size("jpeg", output_compression=5) < await size("jpeg", output_compression=100)
    assert await size("png", output_compression=5) == await size("png")


async def test_parameters_of_other_models_are_accepted_where_they_do_no_harm(connect: Any) -> None:
    _, client = connect()
    answer = await client.images.generate(
        prompt="x",
        quality="hd",
        style="vivid",
        moderation="low",
        background="opaque",
        user="someone",
        stream=False,
        partial_images=0,
        complexity="high",
        safety_identifier="someone",
    )
    assert len(answer.data) == 1


async def test_own_parameters_come_in_the_extra_body(connect: Any, pipeline: Any) -> None:
    _, client = connect()
    extra = {"steps": 9, "guidance_scale": 1.5, "negative_prompt": "fog", "seed": 3}
    raw = await client.images.with_raw_response.generate(prompt="x", extra_body=extra)
    assert raw.headers["diffusion-seed"] == "3"
    assert "denoise;dur=" in raw.headers["server-timing"]
    (made,) = pipeline.batches[-1]
    assert (made.steps, made.guidance_scale, made.negative_prompt) == (9, 1.5, "fog")


@pytest.mark.parametrize(
    ("options", "used"),
    [
        ({"model": "ink"}, ("ink", 0.8)),
        ({"extra_body": {"lora": {"name": "oil"}}}, ("oil", 1.0)),
        ({"model": "oil", "extra_body": {"lora": {"name": "oil", "scale": 0.5}}}, ("oil", 0.5)),
        ({"model": "tiny-sd"}, None),
    ],
)
async def test_lora_is_chosen_as_a_model_or_by_its_field(
    connect: Any, pipeline: Any, options: dict[str, Any], used: Any
) -> None:
    _, client = connect()
    await client.images.generate(prompt="x", **options)
    (made,) = pipeline.batches[-1]
    assert made.lora == used


@pytest.mark.parametrize(
    ("options", "param", "code", "words"),
    [
        ({"prompt": ""}, "prompt", "invalid_value", "is empty"),
        ({"prompt": " "}, "prompt", "invalid_value", "is blank"),
        ({"n": 9}, "n", "invalid_value", "at most 4 in one request"),
        ({"n": 0}, "n", "invalid_value", "greater than or equal to 1"),
        ({"size": "100x128"}, "size", "invalid_value", "width that is 100: use a multiple of 8"),
        ({"size": "8000x8000"}, "size", "invalid_value", "at most 1048576"),
        ({"size": "huge"}, "size", "invalid_value", "should match"),
        ({"background": "transparent"}, "background", "invalid_value", "'auto' or 'opaque'"),
        ({"output_format": "gif"}, "output_format", "invalid_value", "'png', 'jpeg' or 'webp'"),
        ({"response_format": "file"}, "response_format", "invalid_value", "'b64_json' or 'url'"),
        ({"extra_body": {"cfg": 1}}, "cfg", "unknown_parameter", "is not known; the fields are"),
        ({"stream": True}, "stream", "invalid_value", "the steps of POST /predict"),
        ({"partial_images": 2}, "partial_images", "invalid_value", "should be 0"),
        ({"extra_body": {"steps": 0}}, "steps", "invalid_value", "greater than"),
        ({"extra_body": {"lora": {"name": "tar"}}}, "lora.name", "invalid_value", "has ink, oil"),
        (
            {"model": "ink", "extra_body": {"lora": {"name": "oil"}}},
            "lora",
            "invalid_value",
            "leave one out",
        ),
    ],
)
async def test_wrong_parameter_raises_the_clients_own_exception(
    connect: Any, options: dict[str, Any], param: str, code: str, words: str
) -> None:
    stack, client = connect()
    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.generate(**{"prompt": "x", **options})
    error = refused.value
    assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")
    assert words in error.message
    assert stack.sample("diffusion_rejected_total", reason="invalid") == 1


async def test_missing_prompt_and_a_body_that_is_not_json_are_bad_requests(connect: Any) -> None:
    stack, _ = connect()
    path = "/v1/images/generations"
    error = (await stack.client.post(path, json={})).json()["error"]
    assert (error["param"], error["code"]) == ("prompt", "missing_required_parameter")
    answer = await stack.client.post(
        path, content=b"{", headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "malformed"
    assert (await stack.client.post(path, content=b"{}")).status_code == 415


async def test_model_that_is_not_served_is_not_found_and_the_served_ones_are_listed(
    connect: Any,
) -> None:
    _, client = connect()
    with pytest.raises(openai.NotFoundError, match="tiny-sd, ink, oil") as refused:
        await client.images.generate(prompt="x", model="sdxl")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


async def test_models_are_the_service_and_its_loras(connect: Any) -> None:
    _, client = connect()
    listed = [model async for model in await client.models.list()]
    assert [model.id for model in listed] == ["tiny-sd", "ink", "oil"]
    assert {model.object for model in listed} == {"model"}


@pytest.mark.parametrize(
    ("model", "service", "name"),
    [
        ({"path": "/models/demo"}, "", "demo"),
        ({"path": "/models/demo"}, "shop", "shop"),
        ({"path": "/x", "source": "s3://bucket/models/sd/"}, "", "sd"),
        ({"path": "/x", "source": "pvc://weights"}, "", "weights"),
        ({"path": "."}, "", "."),
        ({"path": "/"}, "", "model"),
    ],
)
def test_model_is_named_after_its_service_or_its_source(
    model: dict[str, str], service: str, name: str
) -> None:
    config = ServingConfig.model_validate({"model": model})
    assert base_names(config, service)[0] == name


async def test_full_queue_raises_rate_limit_error_with_a_time_to_retry(
    connect: Any, pipeline: Any
) -> None:
    stack, client = connect(queue={"maxLength": 1})
    pipeline.hold()
    sent = [asyncio.create_task(client.images.generate(prompt="x"))]
    await settled(lambda: pipeline.entered.acquire(blocking=False))
    sent.append(asyncio.create_task(client.images.generate(prompt="x")))
    await settled(lambda: stack.engine.queue_length == 1)
    with pytest.raises(openai.RateLimitError) as refused:
        await client.images.generate(prompt="x")
    assert int(refused.value.response.headers["retry-after"]) >= 1
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "requests")
    pipeline.release()
    await asyncio.gather(*sent)


async def test_failure_of_the_engine_is_a_server_error_without_the_prompt(
    connect: Any, pipeline: Any
) -> None:
    _, client = connect()
    pipeline.failures["a secret wish"] = ValueError("a secret wish")
    with pytest.raises(openai.InternalServerError) as failed:
        await client.images.generate(prompt="a secret wish")
    assert failed.value.type == "server_error"
    assert "secret" not in failed.value.message


async def test_not_ready_is_a_server_error_with_a_time_to_retry(
    connect: Any, pipeline: Any
) -> None:
    pipeline.hold()
    stack, client = connect(start=False)
    stack.engine.start()
    with pytest.raises(openai.InternalServerError, match="still loading") as refused:
        await client.images.generate(prompt="x")
    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"]


async def test_key_is_what_the_client_sends_by_itself(connect: Any, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-right")
    _, client = connect(key="sk-right", auth={"apiKeyFile": str(file)})
    assert (await client.images.generate(prompt="x")).data
    _, stranger = connect(key="sk-wrong", auth={"apiKeyFile": str(file)})
    for call in (stranger.images.generate(prompt="x"), stranger.models.list()):
        with pytest.raises(openai.AuthenticationError) as refused:
            await call
        assert refused.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/images/generations", 405, "method_not_supported"),
        ("POST", "/v1/chat/completions", 404, "not_found"),
    ],
)
async def test_other_routes_below_v1_are_refused_in_the_same_envelope(
    connect: Any, method: str, path: str, status: int, code: str
) -> None:
    stack, _ = connect()
    answer = await stack.client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
