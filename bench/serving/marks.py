"""The time that marks of origin add to an encoded picture of 512 by 512 pixels.

The plain picture, the picture with metadata and the signed one take turns, and a figure is the
median of their differences, so that other programs on the machine slow down all three.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES, Format, encode
from diffusion_serving.provenance.signing import PictureSigner
from diffusion_serving.provenance.xmp import PACKET
from figures import Figure
from signing_certificates import authority, mounted

SIDE = 512
ROUNDS = 60
GOAL_MS = 1.0


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """A figure for each format: milliseconds that metadata and a signature add."""
    picture = grainy(SIDE)
    with tempfile.TemporaryDirectory() as folder:
        signer = PictureSigner(*mounted(Path(folder), "1", authority().issue()))
        return [
            _overhead(picture, image_format, signer, rounds) for image_format in get_args(Format)
        ]


def grainy(side: int) -> Picture:
    """A square picture of smooth colours with grain, which compresses as a model's pictures do."""
    grain = random.Random(0)  # noqa: S311 - a picture, not a secret
    rgb = bytes(
        (x // 3 + y // 5 + 40 * colour + grain.randrange(-3, 4)) % 256
        for y in range(side)
        for x in range(side)
        for colour in range(3)
    )
    return Picture(side, side, rgb)


def _overhead(picture: Picture, image_format: Format, signer: PictureSigner, rounds: int) -> Figure:
    plain = partial(encode, picture, image_format)
    with_metadata = partial(plain, xmp=PACKET)

    def marked() -> bytes:
        return signer.sign(with_metadata(), MEDIA_TYPES[image_format])

    turns = [_turn((plain, with_metadata, marked), number) for number in range(rounds)]
    metadata = statistics.median(second - first for first, second, _ in turns)
    overhead = statistics.median(third - first for first, _, third in turns)
    encoding = statistics.median(first for first, _, _ in turns)
    more = len(marked()) - len(plain())
    details = (
        f"metadata alone {metadata:.2f} ms; encoding {encoding:.1f} ms; {more} bytes more than "
        f"{len(plain()) / 1000:.0f} KB"
    )
    return Figure("marks-overhead", image_format, overhead, "ms", GOAL_MS, details)


def _turn(calls: Sequence[Callable[[], bytes]], number: int) -> list[float]:
    """Milliseconds of each call; another one is the first in each turn."""
    times = [0.0] * len(calls)
    for place in range(len(calls)):
        index = (number + place) % len(calls)
        times[index] = _milliseconds(calls[index])
    return times


def _milliseconds(call: Callable[[], bytes]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000
