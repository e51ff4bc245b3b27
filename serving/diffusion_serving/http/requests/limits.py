"""The service's limits and defaults, which turn a request body into an image request."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace

from diffusion_serving.documents.serving_config import (
    MAX_SIDE,
    MIN_SIDE,
    SIDE_MULTIPLE,
    Defaults,
    Limits,
    Lora,
)
from diffusion_serving.engine.image_request import MAX_SEED, ImageRequest, LoraUse, seeds_from
from diffusion_serving.http.requests.predict_body import LoraChoice, PredictRequest
from diffusion_serving.http.requests.validation import invalid
from diffusion_serving.http.responses.problems import FieldError


def resolve(
    request: PredictRequest, limits: Limits, defaults: Defaults, loras: Sequence[Lora] = ()
) -> ImageRequest:
    """Returns the image request: every field filled in and within the limits.

    `loras` are the service's own.

    Raises:
        Problem: 422 naming each field that is outside.

    """
    lora = next((one for one in loras if request.lora and one.name == request.lora.name), None)
    image_request = ImageRequest(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or "",
        steps=defaults.steps if request.steps is None else request.steps,
        guidance_scale=(
            defaults.guidance_scale if request.guidance_scale is None else request.guidance_scale
        ),
        width=defaults.width if request.width is None else request.width,
        height=defaults.height if request.height is None else request.height,
        seeds=(),
        lora=_use(request.lora, lora) if request.lora and lora else None,
    )
    images = 1 if request.images is None else request.images
    errors = list(_beyond(image_request, images, limits))
    if request.lora and not lora:
        errors.append(_unknown_lora(loras))
    if errors:
        raise invalid(errors)
    seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
    return replace(image_request, seeds=seeds_from(seed, images))


def _use(choice: LoraChoice, lora: Lora) -> LoraUse | None:
    """Returns the LoRA to apply; a scale of 0 is the model alone, and shares a batch with it."""
    scale = lora.scale if choice.scale is None else choice.scale
    return LoraUse(lora.name, scale) if scale else None


def _unknown_lora(loras: Sequence[Lora]) -> FieldError:
    known = ", ".join(lora.name for lora in loras) or "none, so leave the field out"
    return FieldError(
        field="lora.name", detail=f"is no LoRA of this service: the service has {known}"
    )


def _beyond(request: ImageRequest, images: int, limits: Limits) -> Iterator[FieldError]:
    """Returns an error for each field that is outside the service's limits."""
    if not request.prompt.strip():
        yield FieldError(field="prompt", detail="is blank: say what the image should show")
    for name in ("prompt", "negative_prompt"):
        length = len(getattr(request, name))
        if length > limits.max_prompt_length:
            yield FieldError(
                field=name,
                detail=f"has {length} characters: shorten it to {limits.max_prompt_length}",
            )
    if request.steps > limits.steps:
        yield FieldError(
            field="steps",
            detail=f"is {request.steps}: at most {limits.steps} are served",
        )
    if images > limits.max_images_per_request:
        yield FieldError(
            field="images",
            detail=f"is {images}: at most {limits.max_images_per_request} in one request",
        )
    sides = {"width": request.width, "height": request.height}
    wrong = [
        FieldError(
            field=name,
            detail=f"is {side}: use a multiple of {SIDE_MULTIPLE} from {MIN_SIDE} to {MAX_SIDE}",
        )
        for name, side in sides.items()
        if side % SIDE_MULTIPLE or not MIN_SIDE <= side <= MAX_SIDE
    ]
    yield from wrong
    pixels = request.width * request.height
    if not wrong and pixels > limits.max_pixels:
        yield FieldError(
            field="width",
            detail=f"times height is {pixels} pixels: at most {limits.max_pixels} are served, "
            "so make the image smaller",
        )
