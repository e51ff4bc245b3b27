"""The structure of picture files, beside Pillow's reading of it."""

import contextlib
import io
import random
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from diffusion_serving.provenance.container import MAX_PACKET_BYTES, read_container
from diffusion_serving.provenance.errors import NotAPicture
from diffusion_serving.provenance.xmp import PACKET

FORMATS = ("png", "jpeg", "webp")


def saved(image_format: str, **options: Any) -> bytes:
    """A file of Pillow's, whose first pixel is red."""
    image = Image.new("RGB", (16, 8), (255, 0, 0))
    if image_format == "png" and (packet := options.pop("xmp", None)):
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode(), zip=options.pop("zip", 0))
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_packet_that_pillow_writes_is_read(image_format: str) -> None:
    assert read_container(saved(image_format, xmp=PACKET)).xmp == PACKET
    plain = read_container(saved(image_format))
    assert (plain.format, plain.xmp) == (image_format, None)


def test_a_compressed_packet_is_read_and_a_huge_one_refused() -> None:
    assert read_container(saved("png", xmp=PACKET, zip=True)).xmp == PACKET
    text = zlib.compress(b" " * (MAX_PACKET_BYTES + 2))
    data = b"XML:com.adobe.xmp\0\x01\0\0\0" + text
    chunk = struct.pack(">I", len(data)) + b"iTXt" + data + b"\0\0\0\0"
    plain = saved("png")
    with pytest.raises(NotAPicture, match=r"more than \d+ bytes of XMP"):
        read_container(plain[:33] + chunk + plain[33:])


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_file_that_is_cut_off_in_its_headers_is_refused(image_format: str) -> None:
    file = saved(image_format, xmp=PACKET)
    for length in (15, 40, 200):
        with pytest.raises(NotAPicture, match="cut off"):
            read_container(file[:length])


@pytest.mark.parametrize("file", [b"", b"GIF89a", b"<svg/>", b"RIFF\0\0\0\0WAVE"])
def test_another_file_is_no_picture(file: bytes) -> None:
    with pytest.raises(NotAPicture, match="neither PNG, JPEG nor WebP"):
        read_container(file)


def test_no_mutation_of_a_file_is_more_than_refused() -> None:
    chance = random.Random(24)
    for image_format in FORMATS:
        file = saved(image_format, xmp=PACKET)
        for _ in range(300):
            changed = bytearray(file)
            for _ in range(chance.choice((1, 4))):
                changed[chance.randrange(12, len(changed))] = chance.randrange(256)
            with contextlib.suppress(NotAPicture):
                assert read_container(bytes(changed)).format == image_format
