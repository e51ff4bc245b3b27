import math

import pytest

from diffusion_loadtest.measure.server_timing import parse_server_timing


def times(header: str | None) -> list[float | None]:
    return [None if math.isnan(value) else value for value in parse_server_timing(header)]


def test_every_part_is_read_whatever_the_order() -> None:
    header = "queue;dur=1.5, text_encoder;dur=2, denoise;dur=300.25, vae;dur=40, encode;dur=5"
    assert times(header) == [1.5, 2.0, 300.25, 40.0, 5.0]
    assert times('vae;desc="decoder";dur=40,queue ; dur = 1.5') == [1.5, None, None, 40.0, None]
    assert times('db;dur=9, encode;dur="7"') == [None, None, None, None, 7.0]


@pytest.mark.parametrize(
    "header", [None, "", "cache", "queue", "queue;dur", "queue;dur=soon", "queue;dur=-1", ",,;;==",
               "queue;dur=inf", "queue;dur=nan"]
)  # fmt: skip
def test_times_that_cannot_be_read_are_unknown(header: str | None) -> None:
    assert times(header) == [None] * 5
