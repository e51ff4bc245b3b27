"""Checks an image's header, size and end, on its bytes alone."""

import io
import struct
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})


class BadImageError(ValueError):
    """The bytes are not a whole image of a known format; the message gives the reason."""


class ImageHeader(NamedTuple):
    """An image's header: the format (png, jpeg or webp), and the size in pixels."""

    format: str
    width: int
    height: int


def check_image(data: bytes) -> ImageHeader:
    """Reads the header and checks the image's end; raises BadImageError."""
    try:
        if data.startswith(PNG_SIGNATURE):
            return _check_png(data)
        if data.startswith(JPEG_START):
            return _check_jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _check_webp(data)
    except (struct.error, IndexError):
        raise BadImageError("the header is cut off") from None
    raise BadImageError("neither PNG, JPEG nor WebP")


def load_decoders() -> None:
    """Loads Pillow's decoders, which would otherwise load in the middle of a measurement."""
    Image.init()


def decode_image(data: bytes) -> None:
    """Decodes every pixel; raises BadImageError if the decoder fails."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (
        OSError,
        ValueError,
        SyntaxError,  # Pillow's error for a broken PNG chunk
        UnidentifiedImageError,
        Image.DecompressionBombError,
    ):
        raise BadImageError("the pixels cannot be decoded") from None


def _check_png(data: bytes) -> ImageHeader:
    length, kind, width, height = struct.unpack_from(">I4sII", data, len(PNG_SIGNATURE))
    if kind != b"IHDR" or length != 13:  # noqa: PLR2004  the fixed size of an IHDR chunk
        raise BadImageError("the PNG does not begin with IHDR")
    if not data.endswith(PNG_END):
        raise BadImageError("the PNG does not end with IEND")
    return ImageHeader("png", width, height)


def _check_jpeg(data: bytes) -> ImageHeader:
    if not data.endswith(JPEG_END):
        raise BadImageError("the JPEG does not end with EOI")
    position = 2
    while True:
        if data[position] != 0xFF:  # noqa: PLR2004  the first byte of every marker
            raise BadImageError("the JPEG's segments are out of step")
        marker = data[position + 1]
        if marker == 0xFF:  # noqa: PLR2004  a fill byte before a marker
            position += 1
        elif marker in JPEG_WITHOUT_LENGTH:
            position += 2
        elif marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return ImageHeader("jpeg", width, height)
        elif marker in {0xD9, 0xDA}:
            raise BadImageError("the JPEG has no frame header")
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]


def _check_webp(data: bytes) -> ImageHeader:
    if len(data) != struct.unpack_from("<I", data, 4)[0] + 8:
        raise BadImageError("the WebP is not as long as its RIFF header says")
    chunk = data[12:16]
    if chunk == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise BadImageError("the WebP holds no image chunk")
    return ImageHeader("webp", width, height)
