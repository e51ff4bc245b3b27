"""The command that measures the difference and the time of a lower precision."""

import re
from pathlib import Path

import pytest

from diffusion_serving.compare_precision.command import main
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


def test_command_prints_difference_and_time(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", str(tiny_model), "--precision", "bfloat16", "--images", "1"]
    assert main(flags) == 0
    output = capsys.readouterr().out
    assert re.search(r"float32 +\d+\.\d{3} s an image", output)
    assert re.search(r"bfloat16 +\d+\.\d{3} s an image", output)
    figures = re.search(r"largest difference (\d\.\d+), mean (\d\.\d+), PSNR (\d+\.\d) dB", output)
    assert figures is not None
    assert 0 < float(figures[2]) <= float(figures[1]) < 0.3


def test_command_refuses_what_the_device_cannot_do(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(tiny_model), "--precision", "float16", "--images", "1"]) == 1
    assert "float16 needs a GPU" in capsys.readouterr().err
