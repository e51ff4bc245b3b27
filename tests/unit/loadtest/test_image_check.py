import io
import random
from typing import Any

import pytest
from PIL import Image

from diffusion_loadtest.measure.image_check import BadImageError, check_image, decode_image

FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True, "quality": 30}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"Exif\x00\x00made here"}),
]


def picture(kind: str, width: int = 40, height: int = 24, **options: Any) -> bytes:
    chance = random.Random(2)
    image = Image.frombytes("RGB", (width, height), chance.randbytes(width * height * 3))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "options"), FORMATS)
@pytest.mark.parametrize("size", [(40, 24), (1, 1), (1000, 3)])
def test_whole_image_tells_its_format_and_size(
    kind: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    data = picture(kind, *size, **options)
    assert check_image(data) == (kind.lower(), *size)
    decode_image(data)


@pytest.mark.parametrize(("kind", "options"), FORMATS)
def test_image_cut_off_anywhere_is_refused(kind: str, options: dict[str, Any]) -> None:
    data = picture(kind, **options)
    for length in range(len(data)):
        with pytest.raises(BadImageError):
            check_image(data[:length])


@pytest.mark.parametrize(("kind", "options"), FORMATS)
def test_trailing_bytes_are_refused(kind: str, options: dict[str, Any]) -> None:
    with pytest.raises(BadImageError):
        check_image(picture(kind, **options) + b"more")


def test_damage_within_shows_when_the_pixels_are_decoded() -> None:
    data = bytearray(picture("PNG"))
    middle = len(data) // 2
    data[middle : middle + 16] = bytes(16)
    assert check_image(bytes(data)).format == "png"
    with pytest.raises(BadImageError, match="cannot be decoded"):
        decode_image(bytes(data))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html>", b"RIFF\x04\x00\x00\x00WAVE"])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadImageError):
        check_image(data)


def test_random_damage_never_raises_anything_else() -> None:
    chance = random.Random(11)
    for kind, options in FORMATS:
        whole = picture(kind, **options)
        for _ in range(200):
            data = bytearray(whole)
            for _ in range(3):
                data[chance.randrange(40)] = chance.randrange(256)
            try:
                check_image(bytes(data))
                decode_image(bytes(data))
            except BadImageError:
                pass
