"""The response of `POST /verify`: a picture's claims about its origin."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES, Format
from diffusion_serving.http.responses.problems import INVALID, FieldError, Problem
from diffusion_serving.provenance import xmp
from diffusion_serving.provenance.container import read_container
from diffusion_serving.provenance.errors import NotAPicture

if TYPE_CHECKING:
    from diffusion_serving.provenance.claims import SignedClaims

_MAX_TEXT = 200


class ContentCredentials(BaseModel):
    """A picture's C2PA manifest and its signature."""

    model_config = ConfigDict(frozen=True)

    signature_holds: bool = Field(
        description="Whether neither the picture nor the manifest has changed since the signature."
    )
    signer_known: bool = Field(
        description="Whether the signer's certificate comes from this service's own authority. "
        "Anyone can sign with a certificate of their own making."
    )
    signer: str | None = Field(description="The names in the signer's certificate.")
    generator: str | None = Field(description="The program that made the manifest.")
    digital_source_types: list[str] = Field(description="IPTC's terms for the picture's origin.")
    faults: list[str] = Field(description="The checks that failed, with C2PA's codes.")


class Verification(BaseModel):
    """Claims of a picture about its origin."""

    model_config = ConfigDict(frozen=True)

    format: Format
    claims_generated: bool = Field(
        description="Whether the picture says, in one way or another, that a model generated it."
    )
    digital_source_type: str | None = Field(
        description="IPTC's term in the XMP metadata, which nothing protects."
    )
    content_credentials: ContentCredentials | None = Field(
        description="The C2PA manifest; null if there is none."
    )
    summary: str = Field(description="All of it in a few sentences.")


def verify(file: bytes, authorities: bytes) -> Verification:
    """Reads a picture's claims. Takes milliseconds, and nothing from the network.

    `authorities` are the certificates, in PEM, from which the service's own one comes.

    Raises:
        Problem: the bytes are no picture, or its metadata can't be read.

    """
    # c2pa takes 50 ms to import, for which a service that nobody asks doesn't wait.
    from diffusion_serving.provenance.claims import read_claims  # noqa: PLC0415

    try:
        container = read_container(file)
        source_type = xmp.digital_source_type(container.xmp) if container.xmp else None
    except NotAPicture as refusal:
        raise _refused(f"{refusal}: send a whole PNG, JPEG or WebP file") from None
    except ValueError as refusal:
        raise _refused(f"cannot be read, because {refusal}") from None
    claims = read_claims(file, MEDIA_TYPES[container.format], authorities)
    source_types = {source_type, *(claims.source_types if claims else ())}
    is_generated = bool(source_types & xmp.GENERATED_TYPES)
    return Verification(
        format=container.format,
        claims_generated=is_generated,
        digital_source_type=source_type[:_MAX_TEXT] if source_type else None,
        content_credentials=_credentials(claims) if claims else None,
        summary=" ".join((_about_origin(is_generated=is_generated), _about_signature(claims))),
    )


def _credentials(claims: "SignedClaims") -> ContentCredentials:
    return ContentCredentials(
        signature_holds=claims.holds,
        signer_known=claims.signer_known,
        signer=claims.signer,
        generator=claims.generator,
        digital_source_types=list(claims.source_types),
        faults=list(claims.faults),
    )


def _about_origin(*, is_generated: bool) -> str:
    if is_generated:
        return "The picture says that a model generated it."
    return (
        "The picture doesn't say that a model generated it, which shows nothing: "
        "such a mark can be removed."
    )


def _about_signature(claims: "SignedClaims | None") -> str:
    if claims is None:
        return "Nobody has signed it."
    if not claims.holds:
        return f"Its signature doesn't hold, so rely on none of it: {'; '.join(claims.faults)}."
    signer = f"by {claims.signer}" if claims.signer else "without a name"
    if claims.signer_known:
        return f"A signature {signer} holds, from this service's own authority."
    return (
        f"A signature {signer} holds, but this service doesn't know the signer: "
        "anyone can make such a certificate."
    )


def _refused(detail: str) -> Problem:
    error = FieldError(field="", detail=detail)
    return Problem(INVALID, f"The body {detail}.", errors=[error])
