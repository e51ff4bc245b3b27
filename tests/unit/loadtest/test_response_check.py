import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from diffusion_loadtest.measure.response_check import (
    BadResponseError,
    ExpectedImages,
    check_response,
)


def picture(width: int = 16, height: int = 8, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def body(**fields: Any) -> bytes:
    return json.dumps({"images": [picture()], **fields}).encode()


def judge(content: bytes, *, status: int = 200, decode: bool = True, **request: Any) -> str | None:
    """The kind of failure, or None for a success."""
    try:
        check_response(status, content, ExpectedImages.from_body(request), lambda: decode)
    except BadResponseError as error:
        return error.kind
    return None


def test_answer_with_the_images_that_were_asked_for_is_a_success() -> None:
    assert judge(body()) is None
    assert judge(body(format="png", width=16, height=8), width=16, height=8, format="PNG") is None
    assert judge(body(images=[picture()] * 3), images=3) is None
    assert judge(body(images=[picture(kind="JPEG")], format="jpg"), format="jpeg") is None


@pytest.mark.parametrize("status", [201, 302, 400, 429, 500, 503, 504])
def test_other_status_is_a_failure_by_its_number(status: int) -> None:
    assert judge(body(), status=status) == f"HTTP{status}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"images": []}',
        b'{"images": "one"}',
        b'{"images": [null]}',
        b'{"images": ["*not base64*"]}',
        body(images=[picture(), picture()]),
    ],
)
def test_body_without_the_one_image_is_an_invalid_response(content: bytes) -> None:
    assert judge(content) == "InvalidResponse"


def test_wrong_image_is_a_failure() -> None:
    assert judge(body(), width=32) == "WrongImage"
    assert judge(body(height=9)) == "WrongImage"
    assert judge(body(), format="webp") == "WrongImage"
    assert judge(body(format="jpeg")) == "WrongImage"
    assert judge(body(images=[base64.b64encode(b"no image").decode()])) == "InvalidImage"


def test_damaged_pixels_count_where_they_are_decoded() -> None:
    data = bytearray(base64.b64decode(picture(64, 64)))
    data[45:60] = bytes(15)
    content = body(images=[base64.b64encode(data).decode()])
    assert judge(content, decode=True) == "InvalidImage"
    assert judge(content, decode=False) is None
