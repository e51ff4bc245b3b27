"""Content negotiation: the Accept header and the response that fits it best."""

from dataclasses import dataclass

from diffusion_serving.http.requests.predict_body import PredictRequest
from diffusion_serving.http.requests.validation import invalid
from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES, Format
from diffusion_serving.http.responses.problems import NOT_ACCEPTABLE, FieldError, Problem
from diffusion_serving.http.responses.replies import JSON


@dataclass(frozen=True)
class Answer:
    """The response's form: JSON, or the bytes of one image where `image_bytes`."""

    image_bytes: bool
    format: Format


def negotiate(accept: str | None, request: PredictRequest) -> Answer:
    """Chooses the response's form by the Accept header and the request's `format`.

    The media type with the highest q wins, the first of equals. `*/*` means JSON, `image/*` means
    the request's format.

    Raises:
        Problem: 406 if none of the types can be served, 422 if the header names the bytes of
            several images, or bytes in another format than the request's.

    """
    image_format: Format = request.format or "png"
    answers: dict[str, Answer] = {
        JSON: Answer(image_bytes=False, format=image_format),
        "application/*": Answer(image_bytes=False, format=image_format),
        "*/*": Answer(image_bytes=False, format=image_format),
        "image/*": Answer(image_bytes=True, format=image_format),
        **{media: Answer(True, name) for name, media in MEDIA_TYPES.items()},
    }
    for media in _by_preference(accept or "*/*"):
        if (answer := answers.get(media)) is not None:
            break
    else:
        raise Problem(
            NOT_ACCEPTABLE, f"None of the accepted types can be served. {NOT_ACCEPTABLE.advice}"
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
    if answer.image_bytes and answer.format != image_format and request.format is not None:
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
    """Returns the media types of an Accept header, best first, without those refused by `q=0`."""
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
