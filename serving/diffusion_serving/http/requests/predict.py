"""Requests and responses of `POST /predict`, and the limits that every request must keep."""

import base64
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from diffusion_serving.config import (
    MAX_LORA_SCALE,
    MAX_SIDE,
    MIN_SIDE,
    SIDE_MULTIPLE,
    GenerationDefaults,
    Limits,
    Lora,
    ServingConfig,
)
from diffusion_serving.engine.generation import MAX_SEED, Generation, LoraUse, seeds_from
from diffusion_serving.http.requests.image_request import Order, Reader, Timings
from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES, Format
from diffusion_serving.http.responses.problems import (
    INVALID,
    MALFORMED,
    NOT_ACCEPTABLE,
    FieldError,
    Problem,
)
from diffusion_serving.http.responses.replies import JSON, Reply

MAX_BODY_BYTES = 1024 * 1024
"""Far more than two prompts of the longest length that a configuration can allow."""


class LoraChoice(BaseModel):
    """A LoRA of this service and how strongly to apply it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(description="One of this service's LoRAs; /about lists them.")
    scale: float | None = Field(
        default=None,
        ge=0,
        le=MAX_LORA_SCALE,
        allow_inf_nan=False,
        description="0 is without it, 1 is as it was trained; the LoRA's own default if not given.",
    )


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
    lora: LoraChoice | None = Field(default=None, description="A LoRA to apply; none if not given.")


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
    raise invalid([field_error(failure, PredictRequest) for failure in failures])


def predict_reader(config: ServingConfig) -> Reader:
    """Reads the requests of `POST /predict`."""

    def read(body: bytes, accept: str | None, native_size: tuple[int, int]) -> Order:
        request = parse(body)
        answer = negotiate(accept, request)
        defaults = Defaults.of(config.generation, native_size)
        generation = resolve(request, config.limits, defaults, config.model.loras)

        def render(files: Sequence[bytes], timings: Timings) -> Reply:
            return _answered(generation, answer, files, timings)

        return Order(generation, answer.format, render)

    return read


def _answered(
    generation: Generation, answer: "Answer", files: Sequence[bytes], timings: Timings
) -> Reply:
    headers = {"Server-Timing": timings.server_timing(), "Cache-Control": "no-store"}
    if answer.image_bytes:
        headers["Diffusion-Seed"] = str(generation.seeds[0])
        return Reply(200, files[0], MEDIA_TYPES[answer.format], headers)
    response = PredictResponse(
        images=[base64.b64encode(file).decode() for file in files],
        format=answer.format,
        seed=generation.seeds[0],
        width=generation.width,
        height=generation.height,
        steps=generation.steps,
        timings_ms=timings,
    )
    return Reply(200, response.model_dump_json().encode(), headers=headers)


def resolve(
    request: PredictRequest, limits: Limits, defaults: Defaults, loras: Sequence[Lora] = ()
) -> Generation:
    """The request with every field filled in and within the limits.

    `loras` are those that the service has.

    Raises:
        Problem: 422 naming each field that is outside.

    """
    lora = next((one for one in loras if request.lora and one.name == request.lora.name), None)
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
        lora=_use(request.lora, lora) if request.lora and lora else None,
    )
    images = 1 if request.images is None else request.images
    errors = list(_beyond(generation, images, limits))
    if request.lora and not lora:
        errors.append(_unknown_lora(loras))
    if errors:
        raise invalid(errors)
    seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
    return replace(generation, seeds=seeds_from(seed, images))


def _use(choice: LoraChoice, lora: Lora) -> LoraUse | None:
    """What is applied; a scale of 0 is the model alone, and shares a batch with it."""
    scale = lora.scale if choice.scale is None else choice.scale
    return LoraUse(lora.name, scale) if scale else None


def _unknown_lora(loras: Sequence[Lora]) -> FieldError:
    known = ", ".join(lora.name for lora in loras)
    instead = f"it has {known}" if known else "it has none, so leave the field out"
    return FieldError(field="lora.name", detail=f"is no LoRA of this service: {instead}")


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


def field_error(failure: ErrorDetails, model: type[BaseModel]) -> FieldError:
    """What the client is told of a failed validation of a request of this model."""
    name = ".".join(str(part) for part in failure["loc"])
    if failure["type"] == "extra_forbidden":
        inner = LoraChoice if failure["loc"][:-1] else model
        known = ", ".join(inner.model_fields)
        return FieldError(field=name[:100], detail=f"is not known; the fields are {known}")
    if failure["type"] == "missing":
        hint = ": say what the image should show" if name == "prompt" else ""
        return FieldError(field=name, detail=f"is missing{hint}")
    if failure["type"] == "string_too_short":
        return FieldError(field=name, detail="is empty: say what the image should show")
    return FieldError(field=name, detail=failure["msg"].replace("Input should", "should"))


def invalid(errors: Sequence[FieldError], code: str | None = None) -> Problem:
    """The problem that names all fields at fault; `code` is OpenAI's word for the first."""
    detail = "; ".join(f"{error.field or 'the body'} {error.detail}" for error in errors)
    return Problem(INVALID, f"{detail}.", errors=errors, code=code)


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
        raise invalid(
            [
                FieldError(
                    field="images",
                    detail=f"is {request.images}: an answer of image bytes holds one, "
                    "so ask for 1 or accept application/json",
                )
            ]
        )
    if answer.image_bytes and answer.format != wanted and request.format is not None:
        raise invalid(
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


def request_schema(config: ServingConfig) -> dict[str, Any]:
    """JSON schema of the request with this service's limits, defaults and LoRAs in it."""
    limits, defaults = config.limits, config.generation
    schema = bounded_schema(PredictRequest, config)
    properties: dict[str, dict[str, Any]] = schema["properties"]
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


def bounded_schema(model: type[BaseModel], config: ServingConfig) -> dict[str, Any]:
    """A request model's JSON schema, with what holds for this service's requests of any route."""
    limits, defaults = config.limits, config.generation
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for name, spec in properties.items():
        properties[name] = _nullable(spec, definitions)
    properties["prompt"] |= {"maxLength": limits.max_prompt_length, "pattern": r"\S"}
    properties["negative_prompt"] |= {"maxLength": limits.max_prompt_length, "default": ""}
    properties["steps"] |= {"maximum": limits.steps, "default": defaults.steps}
    properties["guidance_scale"] |= {"default": defaults.guidance_scale}
    if names := [lora.name for lora in config.model.loras]:
        properties["lora"]["properties"]["name"]["enum"] = names
    else:
        del properties["lora"]
    return schema


def _nullable(spec: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A property that pydantic describes, flat: its alternatives with null become its type."""
    flat = {key: value for key, value in spec.items() if key not in ("anyOf", "default", "title")}
    for variant in spec.get("anyOf", ()):
        if (name := variant.get("$ref", "").rpartition("/")[2]) in definitions:
            inner = definitions[name]
            fields = inner["properties"].items()
            flat |= {key: value for key, value in inner.items() if key != "title"} | flat
            flat["properties"] = {key: _nullable(value, definitions) for key, value in fields}
        else:
            flat |= {key: value for key, value in variant.items() if key != "type"}
    types = [variant.get("type", "object") for variant in spec.get("anyOf", ())]
    if types:
        flat["type"] = types
    if "null" in types and ("enum" in flat or "const" in flat):
        flat["enum"] = [*flat.get("enum", [flat.pop("const", None)]), None]
    return flat
