"""File structure of pictures: the format and the XMP packet, without the pixels.

PNG: https://www.w3.org/TR/png-3/#5DataRep
JPEG: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.1
WebP: https://developers.google.com/speed/webp/docs/riff_container
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from diffusion_serving.provenance.errors import NotAPicture

_PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
_JPEG_BEGIN = b"\xff\xd8\xff"
_PNG_XMP = b"XML:com.adobe.xmp\0"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_APP1, _SOS, _EOI = 0xE1, 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_RIFF_HEADER = 12

MAX_PACKET_BYTES = 1024 * 1024
"""Far more than any program writes: a packet of this size is taken for an attack."""


@dataclass(frozen=True, slots=True)
class Container:
    """The format of a picture file and its XMP packet, None where there is none."""

    format: Literal["png", "jpeg", "webp"]
    xmp: bytes | None


def png_xmp_chunk(packet: bytes) -> bytes:
    """Returns the data of a PNG's iTXt chunk that holds a packet, not compressed."""
    return _PNG_XMP + b"\0\0\0\0" + packet


def read_container(file: bytes) -> Container:
    """Reads the structure of a PNG, JPEG or WebP.

    Raises:
        NotAPicture: the bytes are another thing, or cut off.

    """
    try:
        if file.startswith(_PNG_BEGIN):
            return Container("png", _first(_png_packets(file)))
        if file.startswith(_JPEG_BEGIN):
            return Container("jpeg", _first(_jpeg_packets(file)))
        if file[:4] == b"RIFF" and file[8:12] == b"WEBP":
            return Container("webp", _first(_webp_packets(file)))
    except (struct.error, IndexError):
        raise NotAPicture("is cut off") from None
    raise NotAPicture("is neither PNG, JPEG nor WebP")


def _first(packets: Iterator[bytes]) -> bytes | None:
    """Walks through the whole file, and returns its first packet."""
    packet = next(packets, None)
    for _ in packets:
        pass
    if packet is not None and len(packet) > MAX_PACKET_BYTES:
        raise NotAPicture(f"has more than {MAX_PACKET_BYTES} bytes of XMP")
    return packet


def _png_packets(file: bytes) -> Iterator[bytes]:
    at, kind = len(_PNG_BEGIN), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", file, at)
        begin, end = at + 8, at + 8 + length
        at = end + 4  # behind the chunk's checksum
        if at > len(file):
            raise NotAPicture("is cut off")
        if kind == b"iTXt" and file.startswith(_PNG_XMP, begin, end):
            yield _text_of(file[begin + len(_PNG_XMP) : end])


def _text_of(data: bytes) -> bytes:
    """Returns the text of an iTXt chunk: flag, method, language, translated keyword, text."""
    compressed = data[0] == 1
    _, _, rest = data[2:].partition(b"\0")
    _, _, text = rest.partition(b"\0")
    if not compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, MAX_PACKET_BYTES + 1)
    except zlib.error:
        raise NotAPicture("has XMP that cannot be decompressed") from None


def _jpeg_packets(file: bytes) -> Iterator[bytes]:
    at = 2
    while True:
        if file[at] != 0xFF:  # noqa: PLR2004 - the first byte of every marker
            raise NotAPicture("is a JPEG whose segments are out of step")
        marker = file[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - a fill byte before a marker
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in {_SOS, _EOI}:
            return
        else:
            (length,) = struct.unpack_from(">H", file, at + 2)
            begin, at = at + 4, at + 2 + length
            if marker == _APP1 and file.startswith(_JPEG_XMP, begin, at):
                yield file[begin + len(_JPEG_XMP) : at]


def _webp_packets(file: bytes) -> Iterator[bytes]:
    (size,) = struct.unpack_from("<I", file, 4)
    end, at = size + 8, _RIFF_HEADER
    if end > len(file):
        raise NotAPicture("is cut off")
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", file, at)
        begin, at = at + 8, at + 8 + length
        if at > end:
            raise NotAPicture("is cut off")
        if kind == b"XMP ":
            yield file[begin:at]
        at += length % 2  # chunks begin at even places
