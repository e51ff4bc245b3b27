"""`POST /verify`: claims of this service's pictures, of changed ones and of others."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diffusion_serving.provenance.xmp import GENERATED
from problem_documents import assert_problem
from signing_certificates import authority, mounted

PNG = {"Content-Type": "image/png"}
FORMATS = ("png", "jpeg", "webp")


@pytest.fixture
def signing(make_stack: Any, tmp_path: Path) -> Any:
    """A stack that signs its pictures."""
    certificate, key = mounted(tmp_path, "1", authority().issue("Studio"))
    files = {"certificateFile": str(certificate), "privateKeyFile": str(key)}
    return make_stack(provenance={"contentCredentials": files})


async def picture(client: Any, image_format: str = "png") -> bytes:
    headers = {"Accept": f"image/{image_format}"}
    answer = await client.post("/predict", json={"prompt": "x"}, headers=headers)
    file: bytes = answer.content
    return file


async def verified(client: Any, file: bytes) -> dict[str, Any]:
    answer = await client.post("/verify", content=file, headers=PNG)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.mark.parametrize("image_format", FORMATS)
async def test_an_unsigned_picture_says_that_it_is_generated(
    make_stack: Any, image_format: str
) -> None:
    client = make_stack().client
    document = await verified(client, await picture(client, image_format))
    assert document == {
        "format": image_format,
        "claims_generated": True,
        "digital_source_type": GENERATED,
        "content_credentials": None,
        "summary": "The picture says that a model generated it. Nobody has signed it.",
    }


@pytest.mark.parametrize("image_format", FORMATS)
async def test_a_signed_picture_names_its_signer(signing: Any, image_format: str) -> None:
    document = await verified(signing.client, await picture(signing.client, image_format))
    assert document["content_credentials"] == {
        "signature_holds": True,
        "signer_known": True,
        "signer": "Studio, Example Ltd",
        "generator": "diffusion-operator",
        "digital_source_types": [GENERATED],
        "faults": [],
    }
    assert "by Studio, Example Ltd holds, from this service's own authority" in document["summary"]


async def test_a_service_without_the_authority_says_that_the_signer_is_unknown(
    signing: Any, make_stack: Any
) -> None:
    file = await picture(signing.client)
    document = await verified(make_stack().client, file)
    assert document["content_credentials"]["signature_holds"]
    assert not document["content_credentials"]["signer_known"]
    assert "doesn't know the signer" in document["summary"]


async def test_a_changed_picture_is_not_relied_on(signing: Any) -> None:
    changed = bytearray(await picture(signing.client))
    changed[-20] ^= 1
    document = await verified(signing.client, bytes(changed))
    assert not document["content_credentials"]["signature_holds"]
    assert "doesn't hold, so rely on none of it" in document["summary"]
    assert "assertion.dataHash.mismatch" in document["summary"]


async def test_another_picture_claims_nothing_and_no_model_is_needed(make_stack: Any) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "webp")
    document = await verified(make_stack(start=False).client, file.getvalue())
    assert (document["format"], document["claims_generated"]) == ("webp", False)
    assert "which shows nothing: such a mark can be removed" in document["summary"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (b"", PNG, 422, "The body is neither PNG, JPEG nor WebP: send a whole"),
        (b"\x89PNG\r\n\x1a\n\0", PNG, 422, "is cut off"),
        (b"{}", {"Content-Type": "application/json"}, 415, "Content-Type: image/png"),
        (b"x", PNG | {"Content-Encoding": "gzip"}, 415, "no Content-Encoding"),
        (b"x" * 2_000_000, PNG, 413, "At most 1114112 bytes are read"),
    ],
    ids=["empty", "cut", "json", "gzip", "large"],
)
async def test_bad_input_says_what_to_send(
    make_stack: Any, content: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    client = make_stack(start=False, limits={"maxPixels": 16384}).client
    answer = await client.post("/verify", content=content, headers=headers)
    assert_problem(answer, status, words)
