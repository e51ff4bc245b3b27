"""Bodies of `POST /verify`: picture files, of no more bytes than the service can generate."""

from diffusion_serving.documents.serving_config import Limits
from diffusion_serving.http.requests.read_body import BodyKind
from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES

BYTES_PER_PIXEL = 4
"""A little more than a PNG without any compression takes for a pixel."""
_REST_BYTES = 1024 * 1024
"""Metadata, signatures, and the frame of a small picture."""

VERIFIED_TYPES = (*MEDIA_TYPES.values(), "application/octet-stream")
"""Media types of the bodies; the bytes decide which of the formats they are."""


def picture_body(limits: Limits) -> BodyKind:
    """Returns the bodies that a service with these limits takes."""
    return BodyKind(
        frozenset(VERIFIED_TYPES),
        BYTES_PER_PIXEL * limits.max_pixels + _REST_BYTES,
        "Send the bytes of a picture with the header Content-Type: image/png, image/jpeg or "
        "image/webp, and no Content-Encoding.",
        "A picture of this service is smaller.",
    )
