"""Requests and responses of the HTTP surface, and the limits that a request must keep."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from diffusion_serving.config import (
    MAX_SIDE,
    MIN_SIDE,
    SIDE_MULTIPLE,
    GenerationDefaults,
    Limits,
)
from diffusion_serving.generation import MAX_SEED, Generation, seeds_from
from diffusion_serving.images import MEDIA_TYPES, Format
from diffusion_serving.problems import (
    INVALID,
    MALFORMED,
    NOT_ACCEPTABLE,
    FieldError,
    Problem,
)

MAX_BODY_BYTES = 1024 * 1024
"""Far more than two prompts of the longest length that a configuration can allow."""

JSON = "application/json"


class PredictRequest(BaseModel):
    """Body of `POST /predict`. A field left out, or null, takes the service's default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: str = Field(min_length=1, description="What the image should show.")
    negative_prompt: str | None = Field(
        default=None, description="What it should not show; no effect at a guidance of 1 or less."
    )
    steps: int | None = Field(default=None, ge=1, description="Denoising steps.")
    guidance_scale: float | None = Field(
        default=None,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="How closely to follow the prompt; 1 or less turns guidance off.",
    )
    width: int | None = Field(default=None, description="Pixels, a multiple of 8.")
    height: int | None = Field(default=None, description="Pixels, a multiple of 8.")
    seed: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SEED,
        description="The same request with the same seed gives the same image; random if not "
        "given. Image i of a request uses seed + i.",
    )
    images: int | None = Field(default=None, ge=1, description="How many images to make.")
    format: Format | None = Field(default=None, description="How to encode the images.")


class Timings(BaseModel):
    """Milliseconds that the request spent in each stage."""

    model_config = ConfigDict(frozen=True)

    queue: float = Field(description="Waiting for the engine.")
    text_encoder: float = Field(description="Turning the prompts into embeddings.")
    denoise: float = Field(description="All steps of the U-Net.")
    vae: float = Field(description="Decoding latents to pixels.")
    encode: float = Field(description="Writing the image files.")

    def server_timing(self) -> str:
        """The value of a Server-Timing header."""
        return ", ".join(f"{name};dur={ms:.1f}" for name, ms in self.model_dump().items())


class PredictResponse(BaseModel):
    """Answer of `POST /predict` as JSON."""

    model_config = ConfigDict(frozen=True)

    images: list[str] = Field(description="The image files, encoded as base64.")
    format: Format
    seed: int = Field(description="The seed of the first image.")
    width: int
    height: int
    steps: int
    timings_ms: Timings


@dataclass(frozen=True)
class Defaults:
    """What a request that leaves a field out gets, with the model's own size filled in."""

    steps: int
    guidance_scale: float
    width: int
    height: int

    @classmethod
    def of(cls, generation: GenerationDefaults, native_size: tuple[int, int]) -> "Defaults":
        return cls(
            steps=generation.steps,
            guidance_scale=generation.guidance_scale,
            width=generation.width or native_size[0],
            height=generation.height or native_size[1],
        )


def parse(body: bytes) -> PredictRequest:
    """The request in a JSON body.

    Raises:
        Problem: 400 if the body is not JSON, 422 naming each field that is wrong.

    """
    try:
        return PredictRequest.model_validate_json(body)
    except ValidationError as error:
        failures = error.errors(include_url=False, include_input=False)
    if failures[0]["type"] == "json_invalid":
        raise Problem(MALFORMED, f"{failures[0]['msg']}. {MALFORMED.advice}")
    raise _invalid([_field_error(failure) for failure in failures])


def resolve(request: PredictRequest, limits: Limits, defaults: Defaults) -> Generation:
    """The request with every field filled in and within the limits.

    Raises:
        Problem: 422 naming each field that is outside.

    """
    generation = Generation(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or "",
        steps=defaults.steps if request.steps is None else request.steps,
        guidance_scale=(
            defaults.guidance_scale if request.guidance_scale is None else request.guidance_scale
        ),
        width=defaults.width if request.width is None else request.width,
        height=defaults.height if request.height is None else request.height,
        seeds=(),
    )
    images = 1 if request.images is None else request.images
    if errors := list(_beyond(generation, images, limits)):
        raise _invalid(errors)
    seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
    return Generation(
        prompt=generation.prompt,
        negative_prompt=generation.negative_prompt,
        steps=generation.steps,
        guidance_scale=generation.guidance_scale,
        width=generation.width,
        height=generation.height,
        seeds=seeds_from(seed, images),
    )


def _beyond(generation: Generation, images: int, limits: Limits) -> Iterator[FieldError]:
    """What of a request is outside the service's limits."""
    if not generation.prompt.strip():
        yield FieldError(field="prompt", detail="is blank: say what the image should show")
    for name in ("prompt", "negative_prompt"):
        length = len(getattr(generation, name))
        if length > limits.max_prompt_length:
            yield FieldError(
                field=name,
                detail=f"has {length} characters: shorten it to {limits.max_prompt_length}",
            )
    if generation.steps > limits.steps:
        yield FieldError(
            field="steps",
            detail=f"is {generation.steps}: at most {limits.steps} are served",
        )
    if images > limits.max_images_per_request:
        yield FieldError(
            field="images",
            detail=f"is {images}: at most {limits.max_images_per_request} in one request",
        )
    sides = {"width": generation.width, "height": generation.height}
    wrong = [
        FieldError(
            field=name,
            detail=f"is {side}: use a multiple of {SIDE_MULTIPLE} from {MIN_SIDE} to {MAX_SIDE}",
        )
        for name, side in sides.items()
        if side % SIDE_MULTIPLE or not MIN_SIDE <= side <= MAX_SIDE
    ]
    yield from wrong
    pixels = generation.width * generation.height
    if not wrong and pixels > limits.max_pixels:
        yield FieldError(
            field="width",
            detail=f"times height is {pixels} pixels: at most {limits.max_pixels} are served, "
            "so make the image smaller",
        )


def _field_error(failure: ErrorDetails) -> FieldError:
    name = ".".join(str(part) for part in failure["loc"])
    if failure["type"] == "extra_forbidden":
        known = ", ".join(PredictRequest.model_fields)
        return FieldError(field=name, detail=f"is not known; the fields are {known}")
    if failure["type"] == "missing":
        return FieldError(field=name, detail="is missing: say what the image should show")
    if failure["type"] == "string_too_short":
        return FieldError(field=name, detail="is empty: say what the image should show")
    return FieldError(field=name, detail=failure["msg"].replace("Input should", "should"))


def _invalid(errors: list[FieldError]) -> Problem:
    detail = "; ".join(f"{error.field or 'the body'} {error.detail}" for error in errors)
    return Problem(INVALID, f"{detail}.", errors=errors)


@dataclass(frozen=True)
class Answer:
    """How to answer: JSON, or the bytes of one image where `image_bytes`."""

    image_bytes: bool
    format: Format


def negotiate(accept: str | None, request: PredictRequest) -> Answer:
    """What the client can take, by the Accept header and the request's `format`.

    The media type with the highest q wins, the first of equals. `*/*` means JSON, `image/*` means
    the request's format.

    Raises:
        Problem: 406 if none of the types can be made, 422 if bytes of several images are asked
            for, or bytes in a format other than the request's.

    """
    wanted: Format = request.format or "png"
    answers: Mapping[str, Answer] = {
        JSON: Answer(image_bytes=False, format=wanted),
        "application/*": Answer(image_bytes=False, format=wanted),
        "*/*": Answer(image_bytes=False, format=wanted),
        "image/*": Answer(image_bytes=True, format=wanted),
        **{media: Answer(True, name) for name, media in MEDIA_TYPES.items()},
    }
    for media in _by_preference(accept or "*/*"):
        if (answer := answers.get(media)) is not None:
            break
    else:
        raise Problem(
            NOT_ACCEPTABLE, f"None of the accepted types can be made. {NOT_ACCEPTABLE.advice}"
        )
    if answer.image_bytes and (request.images or 1) > 1:
        raise _invalid(
            [
                FieldError(
                    field="images",
                    detail=f"is {request.images}: an answer of image bytes holds one, "
                    "so ask for 1 or accept application/json",
                )
            ]
        )
    if answer.image_bytes and answer.format != wanted and request.format is not None:
        raise _invalid(
            [
                FieldError(
                    field="format",
                    detail=f"is {request.format}, but the Accept header asks for "
                    f"{MEDIA_TYPES[answer.format]}: leave one of them out",
                )
            ]
        )
    return answer


def _by_preference(accept: str) -> list[str]:
    """Media types of an Accept header, best first, without those refused by `q=0`."""
    weighted: list[tuple[float, str]] = []
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if media and quality > 0:
            weighted.append((quality, media))
    return [media for _, media in sorted(weighted, key=lambda pair: -pair[0])]


def request_schema(limits: Limits, defaults: GenerationDefaults) -> dict[str, Any]:
    """JSON schema of the request with this service's limits and defaults in it."""
    schema = PredictRequest.model_json_schema()
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for name, spec in properties.items():
        # A null is taken as absent; the schema shows what is useful to send.
        variants = [v for v in spec.pop("anyOf", []) if v.get("type") != "null"]
        spec.pop("default", None)
        spec.pop("title", None)
        properties[name] = {**spec, **(variants[0] if variants else {})}
    properties["prompt"]["maxLength"] = limits.max_prompt_length
    properties["prompt"]["pattern"] = r"\S"
    properties["negative_prompt"] |= {"maxLength": limits.max_prompt_length, "default": ""}
    properties["steps"] |= {"maximum": limits.steps, "default": defaults.steps}
    properties["guidance_scale"] |= {"default": defaults.guidance_scale}
    for name in ("width", "height"):
        properties[name] |= {
            "minimum": MIN_SIDE,
            "maximum": min(MAX_SIDE, limits.max_pixels // MIN_SIDE),
            "multipleOf": SIDE_MULTIPLE,
        }
        if (side := getattr(defaults, name)) is not None:
            properties[name]["default"] = side
    properties["images"] |= {"maximum": limits.max_images_per_request, "default": 1}
    properties["format"] |= {"default": "png"}
    schema["description"] = (
        "A field left out, or null, takes the default. Width times height is at most "
        f"{limits.max_pixels} pixels."
    )
    return schema
