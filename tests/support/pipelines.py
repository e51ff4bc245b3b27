"""Loads real pipelines, and examines their pictures and calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.fetch.model_files import inspect
from lazily import Lazily

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from diffusion_serving import pipeline as serving_pipeline
    from diffusion_serving.pipeline import DiffusersPipeline
else:
    serving_pipeline = Lazily("diffusion_serving.pipeline")


def configured(model: Path, scheduler: str = "ddim", **document: Any) -> ServingConfig:
    """The configuration of a server with the model in that directory."""
    loras = document.pop("loras", [])
    return ServingConfig.model_validate(
        {
            "model": {"path": model, "loras": loras},
            "generation": {"scheduler": scheduler},
            **document,
        }
    )


def loaded(model: Path, scheduler: str = "ddim", **document: Any) -> DiffusersPipeline:
    return serving_pipeline.load_pipeline(inspect(model), configured(model, scheduler, **document))


def image_request(prompt: str = "a red circle", **changes: Any) -> ImageRequest:
    """An image request of the tiny models' own size."""
    fields: dict[str, Any] = {
        "negative_prompt": "",
        "steps": 2,
        "guidance_scale": 2.0,
        "width": 64,
        "height": 64,
        "seeds": (1,),
    }
    return ImageRequest(prompt, **{**fields, **changes})


def pixels(pipeline: DiffusersPipeline, *batch: ImageRequest) -> list[bytes]:
    return [picture.rgb for pictures in pipeline(batch).pictures for picture in pictures]


def furthest(one: bytes, other: bytes) -> int:
    """The largest difference of a channel, of 255."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def watched(part: Any, look: Callable[[Any, Any], None], call: Callable[[], Any]) -> None:
    """Calls `look(arguments, result)` for each run of a part of the model during the call."""
    hook = part.register_forward_hook(lambda _, arguments, result: look(arguments, result))
    try:
        call()
    finally:
        hook.remove()


def count_unet_calls(pipeline: DiffusersPipeline, generation: ImageRequest) -> int:
    calls: list[None] = []
    unet = pipeline._pipe.unet
    watched(unet, lambda *_: calls.append(None), lambda: pipeline([generation]))
    return len(calls)
