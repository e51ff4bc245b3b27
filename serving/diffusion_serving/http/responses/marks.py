"""Marks of origin on the pictures that a service gives away."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffusion_serving.documents.serving_config import Provenance
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES, Format, encode
from diffusion_serving.http.responses.problems import SIGNING_FAILED, Problem
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.provenance import xmp
from diffusion_serving.provenance.errors import SigningFailed

if TYPE_CHECKING:
    from diffusion_serving.provenance.signing import PictureSigner


log = logging.getLogger("diffusion_serving")


def signer_of(provenance: Provenance) -> "PictureSigner | None":
    """Returns the signer of a configuration; None if nothing is signed.

    Raises:
        InvalidConfiguration: there is no usable certificate.

    """
    if (credentials := provenance.content_credentials) is None:
        return None
    # c2pa takes 50 ms to import, which a service without a certificate doesn't wait for.
    from diffusion_serving.provenance.signing import PictureSigner  # noqa: PLC0415

    return PictureSigner(credentials.certificate_file, credentials.private_key_file)


class Marks:
    """The marks that a configuration asks for, put on each picture file."""

    def __init__(self, provenance: Provenance, metrics: Metrics) -> None:
        """Reads the certificate, if there is one.

        Raises:
            InvalidConfiguration: it can't be used.

        """
        self._packet = xmp.PACKET if provenance.metadata else b""
        self._signer = signer_of(provenance)
        self._metrics = metrics

    @property
    def authorities(self) -> bytes:
        """The certificates, in PEM, from which the service's own one comes."""
        return self._signer.authorities if self._signer else b""

    def describe(self) -> Mapping[str, Any]:
        """Returns the marks for /about."""
        return {
            "metadata": bool(self._packet),
            "content_credentials": self._signer is not None,
        }

    def encode(
        self, pictures: Sequence[Picture], image_format: Format, quality: int | None
    ) -> list[bytes]:
        """Encodes pictures with all their marks. Takes milliseconds.

        Raises:
            Problem: one of them can't be signed, so there is no file.

        """
        files = [encode(picture, image_format, quality, self._packet) for picture in pictures]
        if self._signer is None:
            return files
        try:
            return [self._signer.sign(file, MEDIA_TYPES[image_format]) for file in files]
        except SigningFailed as error:
            self._metrics.rejected.labels("unsigned").inc()
            log.error("pictures are not signed", extra={"reason": str(error)})  # noqa: TRY400 - the reason is all there is to know
            raise Problem(SIGNING_FAILED, f"{error} {SIGNING_FAILED.advice}") from None
