"""The difference of pictures."""

import pytest

from diffusion_serving.compare_precision.image_difference import difference
from diffusion_serving.engine.pipeline_interface import Picture


def plain(level: int) -> Picture:
    return Picture(2, 2, bytes([level]) * 12)


def test_equal_pictures_have_no_difference() -> None:
    same = difference([plain(7)], [plain(7)])
    assert (same.largest, same.mean, same.psnr) == (0, 0, float("inf"))


def test_difference_is_over_all_pixels_of_all_pictures() -> None:
    apart = difference([plain(0), plain(255)], [plain(0), plain(0)])
    assert (apart.largest, apart.mean) == (1.0, 0.5)
    assert apart.psnr == pytest.approx(3.01, abs=0.01)
