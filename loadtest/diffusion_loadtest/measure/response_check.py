"""Judges an answer of /predict: a success, or a failure of which kind."""

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


class BadAnswerError(Exception):
    """The answer is a failure of the kind `kind`; the message says why, and holds no prompt."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind = kind


@dataclass(frozen=True)
class Expected:
    """What the request fixed about its images; None where it left the choice to the target."""

    count: int = 1
    width: int | None = None
    height: int | None = None
    format: str | None = None

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "Expected":
        return cls(
            count=_integer(body.get("images")) or 1,
            width=_integer(body.get("width")),
            height=_integer(body.get("height")),
            format=_text(body.get("format")),
        )


def check_answer(
    status: int, body: bytes, expected: Expected, decode_next: Callable[[], bool]
) -> None:
    """Return if the answer is what was asked for, else raise BadAnswerError.

    Every image's format, size and end are checked; `decode_next()` says for each whether it is one
    of the share that is decoded in full as well.
    """
    if status != HTTPStatus.OK:
        raise BadAnswerError(f"HTTP{status}", "the status is not 200")
    try:
        answer = json.loads(body)
    except ValueError:
        raise BadAnswerError(INVALID_RESPONSE, "the body is not JSON") from None
    images = answer.get("images") if isinstance(answer, dict) else None
    if not isinstance(images, list) or len(images) != expected.count:
        raise BadAnswerError(INVALID_RESPONSE, f"there are not {expected.count} images in the body")
    reported = Expected(
        width=_integer(answer.get("width")),
        height=_integer(answer.get("height")),
        format=_text(answer.get("format")),
    )
    for image in images:
        data = _decode_base64(image)
        try:
            header = check_image(data)
            if decode_next():
                decode_image(data)
        except BadImageError as error:
            raise BadAnswerError(INVALID_IMAGE, str(error)) from None
        for side in (expected, reported):
            if side.width not in {None, header.width} or side.height not in {None, header.height}:
                raise BadAnswerError(
                    WRONG_IMAGE,
                    f"{header.width}x{header.height} pixels instead of {side.width}x{side.height}",
                )
            if side.format not in {None, header.format}:
                raise BadAnswerError(WRONG_IMAGE, f"{header.format} instead of {side.format}")


def _decode_base64(image: object) -> bytes:
    if not isinstance(image, str):
        raise BadAnswerError(INVALID_RESPONSE, "an image is not a string")
    try:
        return binascii.a2b_base64(image, strict_mode=True)
    except ValueError:
        raise BadAnswerError(INVALID_RESPONSE, "an image is not base64") from None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return {"jpg": "jpeg"}.get(value.lower(), value.lower())
