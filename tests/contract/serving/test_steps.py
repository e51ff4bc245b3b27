"""Steps of mixed requests that join and leave at random: each image is diffusers' own."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import pytest

from diffusion_serving.documents.serving_config import Scheduler
from diffusion_serving.engine.image_request import ImageRequest, LoraUse
from lazily import Lazily
from pipelines import image_request, loaded, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import torch

    from diffusion_serving import pipeline as serving_pipeline
    from diffusion_serving.engine.pipeline_interface import ImageState
    from diffusion_serving.pipeline import DiffusersPipeline
else:
    torch = Lazily("torch")
    serving_pipeline = Lazily("diffusion_serving.pipeline")

SCHEDULERS: tuple[Scheduler, ...] = get_args(Scheduler)
PROMPTS = ("a red circle", "two green squares", "a star", "nothing at all")
CAP = 8


def mixed(draw: random.Random, count: int, loras: Sequence[str]) -> Iterator[ImageRequest]:
    """Requests that differ in everything that a client may choose."""
    for _ in range(count):
        name = draw.choice([None, None, *loras])
        side = draw.choice((64, 64, 64, 72))
        yield image_request(
            draw.choice(PROMPTS),
            negative_prompt=draw.choice(("", "blue", "round")),
            steps=draw.randint(1, 9),
            guidance_scale=draw.choice((0.0, 1.0, 1.5, 7.5)),
            width=side,
            height=64,
            seeds=tuple(draw.randrange(2**32) for _ in range(draw.choice((1, 1, 1, 2, 3)))),
            lora=None if name is None else LoraUse(name, draw.choice((0.5, 1.0))),
        )


@dataclass(eq=False)
class Active:
    """An image in the loop."""

    request: ImageRequest
    seed: int
    state: ImageState


def by_steps(
    pipeline: DiffusersPipeline, requests: Sequence[ImageRequest], draw: random.Random
) -> tuple[dict[tuple[ImageRequest, int], Any], list[int]]:
    """The pixels of each image, and the number of requests in each step."""
    steps, waiting = pipeline.stepwise, list(requests)
    active: list[Active] = []
    pixels: dict[tuple[ImageRequest, int], Any] = {}
    sharing = []
    # The first third comes at once, so that images of several requests share steps.
    count = len(waiting) // 3
    while waiting or active:
        joining, waiting = waiting[:count], waiting[count:]
        count = draw.randint(0, 3)
        for request in joining:
            (states,) = steps.begin([request])
            active += map(partial(Active, request), request.seeds, states)
        if not active:
            continue
        key = draw.choice(active).request.step_key
        same = [each for each in active if each.request.step_key == key]
        together = draw.sample(same, min(len(same), draw.randint(1, CAP)))
        steps.step([each.state for each in together])
        sharing.append(len({each.request for each in together}))
        if done := [each for each in together if not each.state.steps_left]:
            for each, made in zip(done, decoded(pipeline, done), strict=True):
                pixels[each.request, each.seed] = made
        active = [each for each in active if each not in done]
    return pixels, sharing


def decoded(pipeline: DiffusersPipeline, images: Sequence[Active]) -> list[Any]:
    """The pixels before they become bytes."""
    kept: list[Any] = []
    watched(
        pipeline._pipe.vae.decoder,
        lambda _, pixels: kept.extend((pixels / 2 + 0.5).clamp(0, 1)),
        lambda: pipeline.stepwise.decode([each.state for each in images]),
    )
    return kept


def by_diffusers(
    pipeline: DiffusersPipeline, scheduler: Scheduler, request: ImageRequest, seed: int
) -> Any:
    """The pixels of an image from diffusers' own pipeline, called for that image alone."""
    pipe = pipeline._pipe
    pipe.scheduler = serving_pipeline.make_scheduler(
        scheduler, pipeline._own_scheduler, request.steps
    )
    pipeline._loras.use(request.lora)
    with torch.inference_mode():
        return pipe(
            request.prompt,
            negative_prompt=request.negative_prompt or None,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            width=request.width,
            height=request.height,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
        ).images[0]


def assert_each_is_its_own(
    pipeline: DiffusersPipeline,
    scheduler: Scheduler,
    count: int,
    loras: Sequence[str] = (),
) -> None:
    """Asserts that each image is diffusers' own, and prints the largest difference of a pixel."""
    draw = random.Random(f"{scheduler} {count}")
    requests = list(mixed(draw, count, loras))
    pixels, sharing = by_steps(pipeline, requests, draw)
    assert len(pixels) == len({(request, seed) for request in requests for seed in request.seeds})
    assert max(sharing) > 2, "images of several requests share steps"
    furthest = {
        (request, seed): float(
            (pixels[request, seed] - by_diffusers(pipeline, scheduler, request, seed)).abs().max()
        )
        for request, seed in sorted(pixels, key=_lora)  # each change of a LoRA takes a while
    }
    worst = max(furthest.items(), key=lambda item: item[1])
    print(
        f"{scheduler}: at most {worst[1]:.2g} a pixel, {len(pixels)} images, {len(sharing)} steps"
    )
    assert worst[1] <= 1e-4, worst


def _lora(image: tuple[ImageRequest, int]) -> str:
    return str(image[0].lora)


@pytest.fixture(scope="module")
def sd(tiny_model: Path, tiny_loras: dict[str, Path]) -> Callable[[Scheduler], DiffusersPipeline]:
    """Makes the pipeline of each scheduler, all with one model: its load takes the longest."""
    loras = [{"name": name, "path": path} for name, path in tiny_loras.items()]
    first = loaded(tiny_model, loras=loras)
    pipe, own = first._pipe, first._pipe.scheduler

    def make(scheduler: Scheduler) -> DiffusersPipeline:
        pipe.scheduler = own
        return serving_pipeline.DiffusersPipeline(
            pipe,
            scheduler,
            prompts=first._prompts,
            loras=first._loras,
            attention=first._attention,
        )

    return make


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_mixed_requests_that_join_and_leave_at_random_get_diffusers_own_images(
    sd: Any, scheduler: Scheduler
) -> None:
    assert_each_is_its_own(sd(scheduler), scheduler, 12, ["unet", "text"])


@pytest.mark.parametrize("scheduler", ["ddim", "unipc"])
def test_mixed_requests_of_xl_get_diffusers_own_images(
    tiny_xl_model: Path, scheduler: Scheduler
) -> None:
    assert_each_is_its_own(loaded(tiny_xl_model, scheduler), scheduler, 10)


@pytest.mark.parametrize(
    "its",
    [
        "DDPMScheduler",
        "DEISMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "TCDScheduler",
        "EDMEulerScheduler",
        "EDMDPMSolverMultistepScheduler",
    ],
)
def test_mixed_requests_of_a_model_with_a_scheduler_of_its_own_get_diffusers_own_images(
    tiny_model: Path, tmp_path: Path, its: str
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    index = json.loads((model / "model_index.json").read_text())
    index["scheduler"][1] = its
    (model / "model_index.json").write_text(json.dumps(index))
    (model / "scheduler/scheduler_config.json").write_text(json.dumps({"_class_name": its}))
    assert_each_is_its_own(loaded(model, "own"), "own", 8)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_thousand_mixed_requests_get_diffusers_own_images(sd: Any, scheduler: Scheduler) -> None:
    assert_each_is_its_own(sd(scheduler), scheduler, 200, ["unet", "text"])
