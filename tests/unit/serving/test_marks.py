"""Marks of origin on every route, and a failed signature's answer."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from c2pa import Reader  # type: ignore[import-untyped] # it has no annotations
from PIL import Image

from diffusion_serving.provenance.xmp import GENERATED
from problem_documents import assert_problem
from signing_certificates import authority, mounted

FORMATS = ("png", "jpeg", "webp")
PROMPT = "a fluorescent walrus"


@pytest.fixture
def credentials(tmp_path: Path) -> dict[str, Any]:
    """The part of a configuration that signs pictures."""
    certificate, key = mounted(tmp_path, "1", authority().issue())
    files = {"certificateFile": str(certificate), "privateKeyFile": str(key)}
    return {"contentCredentials": files}


async def files_of_each_route(client: Any, image_format: str) -> list[bytes]:
    """A picture as bytes, in JSON, in an event, and by OpenAI's API in its two forms."""
    body = {"prompt": PROMPT, "seed": 5, "format": image_format}
    bare = await client.post("/predict", json=body, headers={"Accept": f"image/{image_format}"})
    whole = await client.post("/predict", json=body)
    stream = await client.post("/predict", json=body, headers={"Accept": "text/event-stream"})
    event = json.loads(stream.text.rpartition("data: ")[2])
    openai = {"prompt": PROMPT, "seed": 5, "output_format": image_format}
    path = "/v1/images/generations"
    plain = (await client.post(path, json=openai)).json()["data"][0]["b64_json"]
    urls = await client.post(path, json={**openai, "response_format": "url"})
    texts = [whole.json()["images"][0], event["images"][0], plain]
    texts.append(urls.json()["data"][0]["url"].partition(",")[2])
    return [bare.content, *map(base64.b64decode, texts)]


def chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG or a WebP: kind and data."""
    if file.startswith(b"\x89PNG"):
        at = 8
        while at < len(file):
            length, kind = struct.unpack_from(">I4s", file, at)
            data = file[at + 8 : at + 8 + length]
            (checksum,) = struct.unpack_from(">I", file, at + 8 + length)
            assert checksum == zlib.crc32(kind + data)
            yield kind, data
            at += 12 + length
        return
    at = 12
    while at < len(file):
        kind, length = struct.unpack_from("<4sI", file, at)
        yield kind, file[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def packet_of(file: bytes) -> bytes:
    """The XMP packet at the place that the format's specification names."""
    if file.startswith(b"\xff\xd8"):
        head = b"http://ns.adobe.com/xap/1.0/\0"
        at = file.index(head) - 4
        assert file[at : at + 2] == b"\xff\xe1", "the marker of APP1"
        (length,) = struct.unpack_from(">H", file, at + 2)
        return file[at + 4 + len(head) : at + 2 + length]
    if file.startswith(b"\x89PNG"):
        kinds = [kind for kind, _ in chunks(file)]
        assert kinds.index(b"iTXt") < kinds.index(b"IDAT")
        text = dict(chunks(file))[b"iTXt"]
        return text.removeprefix(b"XML:com.adobe.xmp\0\0\0\0\0")
    parts = dict(chunks(file))
    assert parts[b"VP8X"][0] & 0x04, "the header's flag announces XMP"
    return parts[b"XMP "]


@pytest.mark.parametrize("image_format", FORMATS)
async def test_every_picture_of_every_route_says_that_it_is_generated(
    make_stack: Any, image_format: str
) -> None:
    files = await files_of_each_route(make_stack().client, image_format)
    assert len(set(files)) == 1
    packet = packet_of(files[0])
    assert f'DigitalSourceType="{GENERATED}"'.encode() in packet
    image = Image.open(io.BytesIO(files[0]))
    assert image.info["xmp"] == packet
    assert image.format == image_format.upper()
    assert PROMPT.encode() not in files[0]


async def test_marks_can_be_left_out(make_stack: Any) -> None:
    stack = make_stack(provenance={"metadata": False})
    for image_format in FORMATS:
        for file in await files_of_each_route(stack.client, image_format):
            assert b"xmp" not in file.lower()
    about = (await stack.client.get("/about")).json()
    assert about["provenance"] == {"metadata": False, "content_credentials": False}


@pytest.mark.parametrize("image_format", FORMATS)
async def test_every_picture_of_every_route_is_signed(
    make_stack: Any, credentials: dict[str, Any], image_format: str
) -> None:
    stack = make_stack(provenance=credentials)
    for file in await files_of_each_route(stack.client, image_format):
        with Reader(f"image/{image_format}", io.BytesIO(file)) as reader:
            assert reader.get_validation_state() == "Valid"
            assert PROMPT not in reader.detailed_json()
        assert GENERATED.encode() in packet_of(file)
        assert PROMPT.encode() not in file
    about = (await stack.client.get("/about")).json()
    assert about["provenance"] == {"metadata": True, "content_credentials": True}


async def test_without_a_signature_there_is_no_picture_on_any_route(
    make_stack: Any, credentials: dict[str, Any], tmp_path: Path
) -> None:
    stack = make_stack(provenance=credentials)
    mounted(tmp_path, "2", authority().issue(days=(-3, -2)))
    reason = "certificate was not valid"
    for accept in ("image/png", "application/json"):
        answer = await stack.client.post(
            "/predict", json={"prompt": "x", "images": 1}, headers={"Accept": accept}
        )
        document = assert_problem(answer, 500, reason, "effect without a restart")
        assert document["type"] == "/docs#signing-failed"
    stream = await stack.client.post(
        "/predict", json={"prompt": "x"}, headers={"Accept": "text/event-stream"}
    )
    *_, last = stream.text.strip().split("\n\n")
    assert last.startswith("event: problem\n")
    assert reason in last
    answer = await stack.client.post("/v1/images/generations", json={"prompt": "x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (
        500, "signing_failed", "server_error",
    )  # fmt: skip
    assert stack.sample("diffusion_rejected_total", reason="unsigned") == 4
    mounted(tmp_path, "3", authority().issue())
    assert (await stack.client.post("/predict", json={"prompt": "x"})).status_code == 200
