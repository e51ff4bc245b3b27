"""Checks a response of /predict: success, or a kind of failure."""

import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from diffusion_loadtest.measure.image_check import BadImageError, check_image, decode_image

INVALID_RESPONSE = "InvalidResponse"
INVALID_IMAGE = "InvalidImage"
WRONG_IMAGE = "WrongImage"


class BadResponseError(Exception):
    """The response is a failure of kind `kind`; the message gives the reason and no prompt."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


@dataclass(frozen=True)
class ExpectedImages:
    """The properties that a request sets for its images; None if the target chooses."""

    count: int = 1
    width: int | None = None
    height: int | None = None
    format: str | None = None

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "ExpectedImages":
        return cls(
            count=_integer(body.get("images")) or 1,
            width=_integer(body.get("width")),
            height=_integer(body.get("height")),
            format=_text(body.get("format")),
        )


def check_response(
    status: int, body: bytes, expected: ExpectedImages, decode_next: Callable[[], bool]
) -> None:
    """Checks that a response holds the images of its request.

    Every image's format, size and end are checked; `decode_next()` is called for each image and
    decides whether the image is decoded in full, too.

    Raises:
        BadResponseError: The response is a failure.
    """
    if status != HTTPStatus.OK:
        raise BadResponseError(f"HTTP{status}", "the status is not 200")
    try:
        response = json.loads(body)
    except ValueError:
        raise BadResponseError(INVALID_RESPONSE, "the body is not JSON") from None
    images = response.get("images") if isinstance(response, dict) else None
    if not isinstance(images, list) or len(images) != expected.count:
        raise BadResponseError(
            INVALID_RESPONSE, f"there are not {expected.count} images in the body"
        )
    reported = ExpectedImages(
        width=_integer(response.get("width")),
        height=_integer(response.get("height")),
        format=_text(response.get("format")),
    )
    for image in images:
        data = _decode_base64(image)
        try:
            header = check_image(data)
            if decode_next():
                decode_image(data)
        except BadImageError as error:
            raise BadResponseError(INVALID_IMAGE, str(error)) from None
        for side in (expected, reported):
            if side.width not in {None, header.width} or side.height not in {None, header.height}:
                raise BadResponseError(
                    WRONG_IMAGE,
                    f"{header.width}x{header.height} pixels instead of {side.width}x{side.height}",
                )
            if side.format not in {None, header.format}:
                raise BadResponseError(WRONG_IMAGE, f"{header.format} instead of {side.format}")


def _decode_base64(image: object) -> bytes:
    if not isinstance(image, str):
        raise BadResponseError(INVALID_RESPONSE, "an image is not a string")
    try:
        return binascii.a2b_base64(image, strict_mode=True)
    except ValueError:
        raise BadResponseError(INVALID_RESPONSE, "an image is not base64") from None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return {"jpg": "jpeg"}.get(value.lower(), value.lower())
