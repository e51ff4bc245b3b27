"""Requests of `POST /predict`: from a body to an image request and its rendering."""

import base64
from collections.abc import Sequence

from pydantic import ValidationError

from diffusion_serving.documents.serving_config import Defaults, ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.http.requests.accept import Answer, negotiate
from diffusion_serving.http.requests.limits import resolve
from diffusion_serving.http.requests.predict_body import PredictRequest, PredictResponse
from diffusion_serving.http.requests.reader import Reader
from diffusion_serving.http.requests.validation import field_error, invalid
from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES
from diffusion_serving.http.responses.problems import MALFORMED, Problem
from diffusion_serving.http.responses.rendering import Facts, Rendering
from diffusion_serving.http.responses.replies import Reply


def parse(body: bytes) -> PredictRequest:
    """Parses a JSON body.

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
    """Returns the reader of `POST /predict`."""

    def read(
        body: bytes, accept: str | None, native_size: tuple[int, int]
    ) -> tuple[ImageRequest, Rendering]:
        parsed = parse(body)
        answer = negotiate(accept, parsed)
        defaults = Defaults.of(config.generation, native_size)
        request = resolve(parsed, config.limits, defaults, config.model.loras)

        def reply(files: Sequence[bytes], facts: Facts) -> Reply:
            return _reply(request, answer, files, facts)

        return request, Rendering(answer.format, reply)

    return read


def _reply(request: ImageRequest, answer: Answer, files: Sequence[bytes], facts: Facts) -> Reply:
    headers = dict(facts.headers())
    if answer.image_bytes:
        headers["Diffusion-Seed"] = str(request.seeds[0])
        return Reply(200, files[0], MEDIA_TYPES[answer.format], headers)
    response = PredictResponse(
        images=[base64.b64encode(file).decode() for file in files],
        format=answer.format,
        seed=request.seeds[0],
        width=request.width,
        height=request.height,
        steps=request.steps,
        timings_ms=facts.timings,
        blocked=list(facts.blocked) or None,
    )
    return Reply(200, response.model_dump_json().encode(), headers=headers)
