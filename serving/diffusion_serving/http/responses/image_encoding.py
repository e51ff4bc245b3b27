"""The encoding of pictures, for any thread but the engine's."""

import io
import struct
import zlib
from typing import Literal

from PIL import Image, ImageChops

from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.provenance.container import png_xmp_chunk

Format = Literal["png", "jpeg", "webp"]

MEDIA_TYPES: dict[Format, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}

_OPTIONS: dict[Format, dict[str, int]] = {
    "jpeg": {"quality": 92, "subsampling": 0},
    "webp": {"quality": 90, "method": 2},
}

_PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
_AVERAGE = b"\x03"
"""The number of a row's filter: the difference of a byte from the mean of its neighbours to the
left and above."""


def encode(
    picture: Picture, image_format: Format, quality: int | None = None, xmp: bytes = b""
) -> bytes:
    """Encodes a picture as a whole file, without metadata but for an XMP packet.

    `quality` is of 100, for JPEG and WebP; None is a high one.
    """
    if image_format == "png":
        return _png(picture, xmp)
    buffer = io.BytesIO()
    options: dict[str, int | bytes] = {**_OPTIONS[image_format]}
    if quality is not None:
        options["quality"] = quality
    if xmp:
        options["xmp"] = xmp
    _image(picture).save(buffer, image_format, **options)
    return buffer.getvalue()


def _image(picture: Picture) -> Image.Image:
    return Image.frombytes("RGB", (picture.width, picture.height), picture.rgb)


def _png(picture: Picture, xmp: bytes) -> bytes:
    """Encodes a PNG whose rows all have the same filter.

    Pillow tries five filters on each row, which takes longer, and for grainy pictures, as models
    generate them, comes out no smaller. After the filter, zlib's run-length strategy compresses
    about as well as its usual search.
    """
    image = _image(picture)
    left, above = Image.new("RGB", image.size), Image.new("RGB", image.size)
    left.paste(image, (1, 0))
    above.paste(image, (0, 1))
    means = ImageChops.add(left, above, scale=2)
    del left, above  # each is as large as the picture, and several are encoded at a time
    rest = ImageChops.subtract_modulo(image, means).tobytes()
    del image, means
    row = 3 * picture.width
    lines = b"".join(_AVERAGE + rest[at : at + row] for at in range(0, len(rest), row))
    packer = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    # 8 bits of each of three colours, packed and filtered in the usual way, not interlaced.
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header}
    if xmp:
        chunks[b"iTXt"] = png_xmp_chunk(xmp)
    chunks |= {b"IDAT": packer.compress(lines) + packer.flush(), b"IEND": b""}
    return _PNG_BEGIN + b"".join(_chunk(kind, data) for kind, data in chunks.items())


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
