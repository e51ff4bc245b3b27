"""The claims of C2PA manifests, from this service and from others."""

import io
from pathlib import Path

import pytest
from c2pa import Builder, C2paSignerInfo, Context, Signer  # type: ignore[import-untyped] # same
from PIL import Image

from diffusion_serving.provenance.claims import read_claims
from diffusion_serving.provenance.signing import PictureSigner
from diffusion_serving.provenance.xmp import GENERATED
from signing_certificates import authority, mounted


def plain() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8), (1, 2, 3)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def signer(tmp_path: Path) -> PictureSigner:
    return PictureSigner(*mounted(tmp_path, "1", authority().issue("Studio")))


def test_a_picture_without_a_manifest_claims_nothing() -> None:
    assert read_claims(plain(), "image/png") is None


def test_a_signature_that_holds_names_its_signer_and_what_the_picture_is(
    signer: PictureSigner,
) -> None:
    claims = read_claims(signer.sign(plain(), "image/png"), "image/png", signer.authorities)
    assert claims is not None
    assert (claims.holds, claims.signer_known, claims.faults) == (True, True, ())
    assert claims.signer == "Studio, Example Ltd"
    assert (claims.generator, claims.source_types) == ("diffusion-operator", (GENERATED,))


def test_a_signer_of_another_authority_is_not_known(signer: PictureSigner) -> None:
    file = signer.sign(plain(), "image/png")
    (others,) = (authority("Stranger").issue().chain.split(b"\n-----BEGIN")[1],)
    for known in (b"", b"-----BEGIN" + others):
        claims = read_claims(file, "image/png", known)
        assert claims is not None
        assert (claims.holds, claims.signer_known) == (True, False)


def test_a_changed_picture_says_which_check_failed(signer: PictureSigner) -> None:
    changed = bytearray(signer.sign(plain(), "image/png"))
    changed[-20] ^= 1
    claims = read_claims(bytes(changed), "image/png", signer.authorities)
    assert claims is not None
    assert not claims.holds
    assert any("assertion.dataHash.mismatch" in fault for fault in claims.faults)


def test_a_manifest_elsewhere_is_not_fetched() -> None:
    issue = authority().issue()
    info = C2paSignerInfo(b"es256", issue.chain, issue.private_key, None)
    context = Context.from_dict(
        {"verify": {"verify_after_sign": False}}, signer=Signer.from_info(info)
    )
    file = io.BytesIO()
    with Builder({"claim_generator_info": [{"name": "other"}]}, context) as builder:
        builder.set_no_embed()
        builder.set_remote_url("http://127.0.0.1:9/manifest")
        builder.sign("image/png", io.BytesIO(plain()), file)
    claims = read_claims(file.getvalue(), "image/png")
    assert claims is not None
    assert not claims.holds
    assert "must fetch remote manifests" in claims.faults[0], "an attempt would say 'could not'"
