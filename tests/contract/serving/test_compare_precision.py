"""The command that measures the difference and the time of a lower precision."""

import re
from pathlib import Path

import pytest

from diffusion_serving.compare_precision.command import main


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
