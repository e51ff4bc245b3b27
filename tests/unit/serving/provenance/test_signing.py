"""The signature of picture files, read back by c2pa's own reader."""

import io
import json
import logging
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from c2pa import C2paError, Reader  # type: ignore[import-untyped] # it has no annotations
from cryptography.x509.oid import ExtendedKeyUsageOID
from PIL import Image

from diffusion_serving.observability.startup_errors import InvalidConfiguration
from diffusion_serving.provenance.errors import SigningFailed
from diffusion_serving.provenance.signing import PictureSigner
from diffusion_serving.provenance.xmp import GENERATED, PACKET
from signing_certificates import Issue, authority, mounted

FORMATS = ("png", "jpeg", "webp")
MANIFESTS = {"png": b"caBX", "jpeg": b"\xff\xeb", "webp": b"C2PA"}
"""The first bytes of the chunk or segment that holds a manifest; a PNG's length is before them."""


@pytest.fixture
def signer(tmp_path: Path) -> PictureSigner:
    return PictureSigner(*mounted(tmp_path, "1", authority().issue()))


def picture(image_format: str) -> bytes:
    pixels = random.Random(7).randbytes(3 * 32 * 32)
    buffer = io.BytesIO()
    options = {} if image_format == "png" else {"xmp": PACKET}
    Image.frombytes("RGB", (32, 32), pixels).save(buffer, image_format, **options)
    return buffer.getvalue()


def read(file: bytes, image_format: str) -> dict[str, Any]:
    with Reader(f"image/{image_format}", io.BytesIO(file)) as reader:
        document: dict[str, Any] = json.loads(reader.detailed_json())
        return document | {"state": reader.get_validation_state()}


def signer_name(file: bytes) -> str:
    document = read(file, "png")
    name: str = document["manifests"][document["active_manifest"]]["signature"]["common_name"]
    return name


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_signed_picture_holds_for_c2pas_own_reader(
    signer: PictureSigner, image_format: str
) -> None:
    file = picture(image_format)
    signed = signer.sign(file, f"image/{image_format}")
    document = read(signed, image_format)
    assert document["state"] == "Valid"
    (manifest,) = document["manifests"].values()
    created = manifest["assertion_store"]["c2pa.actions.v2"]["actions"]
    assert created == [{"action": "c2pa.created", "digitalSourceType": GENERATED}]
    vouched = [one["url"] for one in manifest["claim"]["created_assertions"]]
    assert "self#jumbf=c2pa.assertions/c2pa.actions.v2" in vouched
    assert manifest["claim"]["claim_generator_info"]["name"] == "diffusion-operator"
    assert len(signed) - len(file) < 4000, "no thumbnail is in it"
    before, after = (Image.open(io.BytesIO(one)) for one in (file, signed))
    assert before.convert("RGB").tobytes() == after.convert("RGB").tobytes()
    assert before.info.get("xmp") == after.info.get("xmp")


@pytest.mark.parametrize("image_format", FORMATS)
def test_one_changed_byte_of_the_picture_fails_the_signature(
    signer: PictureSigner, image_format: str
) -> None:
    file = picture(image_format)
    signed = signer.sign(file, f"image/{image_format}")
    manifest = signed.index(MANIFESTS[image_format])
    picture_before = range(manifest - 4 if image_format == "png" else manifest)
    outside = [*picture_before, *range(picture_before.stop + len(signed) - len(file), len(signed))]
    for at in random.Random(1).sample(outside, 60):
        changed = bytearray(signed)
        changed[at] ^= 0x10
        try:
            state = read(bytes(changed), image_format)["state"]
        except C2paError:
            continue  # not even its structure can be read
        assert state == "Invalid", at


def test_a_rotated_secret_signs_the_next_picture(tmp_path: Path) -> None:
    signer = PictureSigner(*mounted(tmp_path, "1", authority().issue("First")))
    assert signer_name(signer.sign(picture("png"), "image/png")) == "First"
    mounted(tmp_path, "2", authority("Other authority").issue("Second"))
    assert signer_name(signer.sign(picture("png"), "image/png")) == "Second"
    assert (
        signer.authorities == authority("Other authority").issue().chain[-len(signer.authorities) :]
    )


def test_no_picture_is_signed_by_a_certificate_that_the_secret_has_lost(tmp_path: Path) -> None:
    certificate, key = mounted(tmp_path, "1", authority().issue("First"))
    signer = PictureSigner(certificate, key)
    mounted(tmp_path, "2", Issue(authority().issue().chain, authority().issue().private_key))
    for _ in range(2):
        with pytest.raises(SigningFailed, match="not the key of the first certificate"):
            signer.sign(picture("png"), "image/png")
    (tmp_path / "..data").unlink()
    with pytest.raises(SigningFailed, match=r"cannot be read .* keys tls\.crt and tls\.key"):
        signer.sign(picture("png"), "image/png")
    mounted(tmp_path, "3", authority().issue("Third"))
    assert signer_name(signer.sign(picture("png"), "image/png")) == "Third"


@pytest.mark.parametrize(
    ("issue", "reason"),
    [
        (authority().issue(days=(-60, -30)), "certificate was not valid at time of signing"),
        (authority().issue(days=(30, 60)), "certificate was not valid at time of signing"),
        (authority().issue(usage=ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE), "certificate"),
    ],
    ids=["expired", "future", "usage"],
)
def test_a_certificate_without_valid_signatures_is_refused_at_the_start(
    tmp_path: Path, issue: Issue, reason: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=f"contentCredentials cannot be used.*{reason}"):
        PictureSigner(*mounted(tmp_path, "1", issue))


def test_a_broken_picture_is_not_signed(signer: PictureSigner) -> None:
    with pytest.raises(SigningFailed, match="could not be signed"):
        signer.sign(b"no picture", "image/png")


def test_threads_share_a_signer_while_the_secret_rotates(tmp_path: Path) -> None:
    signer = PictureSigner(*mounted(tmp_path, "0", authority().issue("0")))
    file = picture("webp")

    def sign(number: int) -> str:
        if number % 10 == 5:
            mounted(tmp_path, f"{number}", authority().issue(f"{number}"))
        state: str = read(signer.sign(file, "image/webp"), "webp")["state"]
        return state

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(sign, range(40))) == {"Valid"}


def test_no_key_comes_into_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    issue = authority().issue("Shown")
    with caplog.at_level(logging.DEBUG):
        PictureSigner(*mounted(tmp_path, "1", issue)).sign(picture("png"), "image/png")
    text = " ".join(str(record.__dict__) for record in caplog.records)
    assert "Shown" in text
    assert not [line for line in issue.private_key.decode().splitlines() if line in text]
