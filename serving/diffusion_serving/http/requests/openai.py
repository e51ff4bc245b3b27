"""OpenAI's image API on top of the same engine: its requests, replies and models."""

import base64
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from diffusion_serving.documents.serving_config import Defaults, ServingConfig
from diffusion_serving.engine.image_request import MAX_SEED, ImageRequest
from diffusion_serving.http.requests.limits import resolve
from diffusion_serving.http.requests.predict_body import LoraChoice, PredictRequest
from diffusion_serving.http.requests.reader import Reader
from diffusion_serving.http.requests.schemas import bounded_schema
from diffusion_serving.http.requests.validation import field_error, invalid
from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES, Format
from diffusion_serving.http.responses.problems import (
    INVALID,
    MALFORMED,
    MODEL_NOT_FOUND,
    FieldError,
    Problem,
)
from diffusion_serving.http.responses.rendering import Facts, Rendering
from diffusion_serving.http.responses.replies import Reply

_SIZE = r"^(auto|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})$"

_NO_EFFECT = "Taken for compatibility, without effect."


def _not_streamed(stream: object) -> object:
    if stream is True:
        raise PydanticCustomError(
            "streamed",
            "can't be true here: leave it out, or follow the steps of POST /predict with the "
            "header Accept: text/event-stream",
        )
    return stream


class ImagesRequest(BaseModel):
    """Body of `POST /v1/images/generations`. A field left out, or null, takes the default.

    Beyond OpenAI's own fields it has those of /predict, which clients send in `extra_body`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: str = Field(min_length=1, description="The content of the image.")
    model: str | None = Field(
        default=None,
        max_length=1000,
        description="A model of GET /v1/models: the service's own, or one of its LoRAs. The names "
        "of OpenAI's image models stand for the service's own.",
    )
    n: int | None = Field(default=None, ge=1, description="The number of images.")
    size: str | None = Field(
        default=None,
        pattern=_SIZE,
        description="Width and height in pixels as in 512x512, multiples of 8; auto is the "
        "service's own size.",
    )
    response_format: Literal["b64_json", "url"] | None = Field(
        default=None, description="`url` answers data URLs: no image is stored to point at."
    )
    output_format: Format | None = Field(default=None, description="File format of the images.")
    output_compression: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Quality of jpeg and webp; without effect on png, which is exact.",
    )
    background: Literal["auto", "opaque"] | None = Field(
        default=None, description="Images have no transparency."
    )
    stream: Annotated[Literal[False] | None, BeforeValidator(_not_streamed)] = Field(
        default=None, description="Responses come whole; /predict can stream each step."
    )
    partial_images: Literal[0] | None = Field(default=None, description="Responses come whole.")
    complexity: Literal["low", "medium", "high"] | None = Field(
        default=None, description=f"{_NO_EFFECT} Nothing is planned."
    )
    quality: Literal["auto", "standard", "low", "medium", "high", "hd", "xhigh", "max"] | None = (
        Field(default=None, description=f"{_NO_EFFECT} `steps` decides.")
    )
    style: Literal["vivid", "natural"] | None = Field(default=None, description=_NO_EFFECT)
    moderation: Literal["auto", "low"] | None = Field(
        default=None, description=f"{_NO_EFFECT} The service's own safety checker decides."
    )
    user: str | None = Field(default=None, description=f"{_NO_EFFECT} It is not kept.")
    safety_identifier: str | None = Field(default=None, description=f"{_NO_EFFECT} It is not kept.")
    negative_prompt: str | None = Field(default=None, description="As for /predict.")
    steps: int | None = Field(default=None, ge=1, description="As for /predict.")
    guidance_scale: float | None = Field(
        default=None, ge=0, le=100, allow_inf_nan=False, description="As for /predict."
    )
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="As for /predict.")
    lora: LoraChoice | None = Field(default=None, description="As for /predict.")


_OPENAI_MODEL = re.compile(r"(dall-e|gpt-image|chatgpt-image)-")

_NAMES = {"images": "n", "width": "size", "height": "size", "format": "output_format"}
"""Fields of /predict that have other names here."""

_CODES = {"extra_forbidden": "unknown_parameter", "missing": "missing_required_parameter"}


def images_reader(config: ServingConfig, service: str) -> Reader:
    """Returns the reader of `POST /v1/images/generations` for the service of that name."""
    base = base_names(config, service)

    def read(
        body: bytes, _: str | None, native_size: tuple[int, int]
    ) -> tuple[ImageRequest, Rendering]:
        parsed = _parse(body)
        defaults = Defaults.of(config.generation, native_size)
        predict = _as_predict(parsed, _lora_of(parsed, base, config))
        try:
            request = resolve(predict, config.limits, defaults, config.model.loras)
        except Problem as problem:
            raise _renamed(problem) from None
        image_format = parsed.output_format or "png"
        as_url = parsed.response_format == "url"

        def reply(files: Sequence[bytes], facts: Facts) -> Reply:
            return _reply(request, image_format, files, facts, as_url=as_url)

        return request, Rendering(image_format, reply, quality=parsed.output_compression)

    return read


def _parse(body: bytes) -> ImagesRequest:
    try:
        return ImagesRequest.model_validate_json(body)
    except ValidationError as error:
        failures = error.errors(include_url=False, include_input=False)
    if failures[0]["type"] == "json_invalid":
        raise Problem(MALFORMED, f"{failures[0]['msg']}. {MALFORMED.advice}")
    errors = [field_error(failure, ImagesRequest) for failure in failures]
    raise invalid(errors, _CODES.get(failures[0]["type"]))


def base_names(config: ServingConfig, service: str) -> tuple[str, ...]:
    """Returns the names of the served model; the first is the one that is listed.

    The service's name, else what its source ends in; the source as it was written; that without
    its scheme.
    """
    source = config.model.source or str(config.model.path)
    inner = source.partition("://")[2] or source
    return (service or inner.rstrip("/").rpartition("/")[2] or "model", source, inner)


def _lora_of(
    request: ImagesRequest, base: Sequence[str], config: ServingConfig
) -> LoraChoice | None:
    """Returns the LoRA that the request names as its model or in its own field."""
    model = request.model
    if not model or model in base or _OPENAI_MODEL.match(model):
        return request.lora
    names = [lora.name for lora in config.model.loras]
    if model not in names:
        known = ", ".join(dict.fromkeys([base[0], *names]))
        raise Problem(
            MODEL_NOT_FOUND,
            f"The model that was named is not served here, but {known}.",
            errors=[FieldError(field="model", detail=f"is not one of {known}")],
        )
    if request.lora and request.lora.name != model:
        raise invalid(
            [FieldError(field="lora", detail="is another than the model names: leave one out")]
        )
    return request.lora or LoraChoice(name=model)


def _as_predict(request: ImagesRequest, lora: LoraChoice | None) -> PredictRequest:
    width, height = _sides(request.size)
    return PredictRequest(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        width=width,
        height=height,
        seed=request.seed,
        images=request.n,
        lora=lora,
    )


def _sides(size: str | None) -> tuple[int, int] | tuple[None, None]:
    if size is None or size == "auto":
        return None, None
    width, _, height = size.partition("x")
    return int(width), int(height)


def _renamed(problem: Problem) -> Problem:
    """Returns a problem of /predict's fields with this API's field names."""
    if problem.kind is not INVALID:
        return problem
    return invalid(
        [
            FieldError(
                field=_NAMES.get(error.field, error.field),
                detail=error.detail
                if error.field not in ("width", "height")
                else f"has a {error.field} that {error.detail}",
            )
            for error in problem.errors
        ]
    )


def _reply(
    request: ImageRequest,
    image_format: Format,
    files: Sequence[bytes],
    facts: Facts,
    *,
    as_url: bool,
) -> Reply:
    encoded = [base64.b64encode(file).decode() for file in files]
    prefix = f"data:{MEDIA_TYPES[image_format]};base64,"
    document: dict[str, Any] = {
        "created": int(time.time()),
        "background": "opaque",
        "output_format": image_format,
        "size": f"{request.width}x{request.height}",
        "data": [{"url": prefix + one} if as_url else {"b64_json": one} for one in encoded],
    }
    if facts.blocked:
        document["blocked"] = list(facts.blocked)
    headers = {**facts.headers(), "Diffusion-Seed": str(request.seeds[0])}
    return Reply(200, json.dumps(document).encode(), headers=headers)


def models(config: ServingConfig, service: str, created: int) -> Mapping[str, Any]:
    """Response of `GET /v1/models`: the served model, then its LoRAs. `created` is in Unix time."""
    names = [base_names(config, service)[0], *(lora.name for lora in config.model.loras)]
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": created, "owned_by": "diffusion"}
            for name in dict.fromkeys(names)
        ],
    }


def images_schema(config: ServingConfig) -> dict[str, Any]:
    """Returns the JSON schema of the request, with this service's limits and LoRAs."""
    schema = bounded_schema(ImagesRequest, config)
    properties: dict[str, dict[str, Any]] = schema["properties"]
    properties["n"] |= {"maximum": config.limits.max_images_per_request, "default": 1}
    properties["output_format"] |= {"default": "png"}
    properties["response_format"] |= {"default": "b64_json"}
    properties["size"] |= {"default": "auto"}
    schema["description"] = (
        "A field left out, or null, takes the default. Beyond OpenAI's own there are the last "
        f"ones, for its clients' `extra_body`. At most {config.limits.max_pixels} pixels an image."
    )
    return schema
