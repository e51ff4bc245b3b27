"""Many different requests at once on the demo model: each gets its own picture."""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import random
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image

from demo_model.checker import look
from demo_model.shapes import caption, parse, subjects
from diffusion_serving.engine.image_request import ImageRequest, seeds_from
from pipelines import furthest, loaded, watched
from serving_process import IMAGES, RAY_BATCHES, VARIANTS, Server, Variant, demo_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from diffusion_serving.pipeline import DiffusersPipeline

MODEL = IMAGES / "demo_model/weights"
SIDE = 128
STEPS, GUIDANCE = (4, 6), (7.5, 5.0)
ENGINES = [variant for variant in VARIANTS if variant.mode == "engine"]
OTHER_WAYS = [
    *(variant for variant in (*VARIANTS, RAY_BATCHES) if variant.mode != "engine"),
    *(Variant(variant.backend, "none") for variant in ENGINES),
]


@pytest.fixture(scope="module")
def alone() -> DiffusersPipeline:
    return loaded(MODEL)


@pytest.fixture
def server(variant: Variant, tmp_path: Path) -> Iterator[Server]:
    """A server of the demo model and the variant, for one test alone."""
    server = Server(tmp_path, demo_configuration(variant))
    try:
        yield server.ready()
    finally:
        server.end()


def bodies(count: int) -> list[dict[str, Any]]:
    """Requests of several batch keys in random order, some for more than one image."""
    draw = random.Random(7)
    wording = np.random.default_rng(7)
    every = subjects()
    return [
        {
            "prompt": caption(draw.choice(every), wording),
            "steps": draw.choice(STEPS),
            "guidance_scale": draw.choice(GUIDANCE),
            "seed": draw.randrange(2**32),
            "images": draw.choice((1, 1, 1, 2)),
        }
        for _ in range(count)
    ]


async def answers(server: Server, requests: list[dict[str, Any]]) -> list[httpx.Response]:
    """Sends all requests at once, and returns the answers."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=3000, limits=limits) as client:
        return await asyncio.gather(*(client.post("/predict", json=body) for body in requests))


def pictures(answer: httpx.Response) -> list[bytes]:
    files = [base64.b64decode(file) for file in answer.json()["images"]]
    return [Image.open(io.BytesIO(file)).tobytes() for file in files]


def references(alone: DiffusersPipeline, body: dict[str, Any]) -> list[bytes]:
    """The pictures of the request, each made in its own call of the pipeline."""
    return [
        _made_alone(alone, _generation(body, seed))
        for seed in seeds_from(body["seed"], body["images"])
    ]


@functools.cache  # each backend gets the same requests
def _made_alone(alone: DiffusersPipeline, generation: ImageRequest) -> bytes:
    return alone([generation]).pictures[0][0].rgb


def _generation(body: dict[str, Any], *seeds: int) -> ImageRequest:
    return ImageRequest(
        body["prompt"], "", body["steps"], body["guidance_scale"], SIDE, SIDE, seeds
    )


def shows_its_prompt(picture: bytes, prompt: str) -> bool:
    rgb = np.frombuffer(picture, np.uint8).reshape(SIDE, SIDE, 3).astype(np.float32) / 255
    return not look(rgb).differences(parse(prompt))


async def assert_each_gets_its_own(server: Server, alone: DiffusersPipeline, count: int) -> None:
    requests, before = bodies(count), server.metric("diffusion_batch_size_sum")
    responses = await answers(server, requests)
    assert [answer.status_code for answer in responses] == [200] * count
    by_steps = server.client.get("/about").json()["batching"]["scheduled"] == "steps"
    right = images = work = 0
    for body, answer in zip(requests, responses, strict=True):
        assert answer.json()["seed"] == body["seed"]
        for picture, reference in zip(pictures(answer), references(alone, body), strict=True):
            assert furthest(picture, reference) <= 1, body
            right += shows_its_prompt(picture, body["prompt"])
            images += 1
            work += body["steps"] if by_steps else 1
    # The model itself is not always right; a picture of another request's prompt hardly ever is.
    assert right >= 0.9 * images
    assert server.metric("diffusion_batch_size_sum") == before + work


def batches(server: Server) -> float:
    return server.metric("diffusion_batch_size_count")


async def test_sixty_mixed_requests_at_once_each_get_their_own_picture(
    demo_server: Server, alone: DiffusersPipeline
) -> None:
    before = batches(demo_server)
    await assert_each_gets_its_own(demo_server, alone, 60)
    steps = sum(body["steps"] * body["images"] for body in bodies(60))
    assert batches(demo_server) - before < steps / 2


@pytest.mark.full
@pytest.mark.parametrize("variant", OTHER_WAYS, indirect=True, ids=str)
async def test_pictures_do_not_depend_on_the_way_of_batching(
    server: Server, variant: Variant, alone: DiffusersPipeline
) -> None:
    await assert_each_gets_its_own(server, alone, 60)
    assert (batches(server) == 60) == (variant.mode == "none")


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("variant", ENGINES, indirect=True, ids=str)
async def test_thousand_mixed_requests_at_once_each_get_their_own_picture(
    server: Server, alone: DiffusersPipeline
) -> None:
    await assert_each_gets_its_own(server, alone, 1000)
    assert batches(server) < sum(body["steps"] * body["images"] for body in bodies(1000)) / 2


def test_pixels_of_a_batch_of_eight_are_those_of_each_alone_to_a_ten_thousandth(
    alone: DiffusersPipeline,
) -> None:
    generations = [
        _generation({**body, "steps": 4, "guidance_scale": 7.5}, body["seed"]) for body in bodies(8)
    ]
    decoded: list[Any] = []
    decoder = alone._pipe.vae.decoder

    def keep(_: Any, pixels: Any) -> None:
        decoded.extend((pixels / 2 + 0.5).clamp(0, 1))

    watched(decoder, keep, lambda: alone(generations))
    for generation in generations:
        watched(decoder, keep, functools.partial(alone, [generation]))
    together, apart = decoded[:8], decoded[8:]
    assert len(apart) == 8
    for one, other in zip(together, apart, strict=True):
        assert float((one - other).abs().max()) <= 1e-4
