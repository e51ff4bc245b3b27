"""The command ``predict``: its request, and the report of its pictures."""

from argparse import Namespace
from pathlib import Path

import pytest

from kubectl_diffusion.predict.command import request_of, seeds
from kubectl_diffusion.terminal.errors import PluginError


def options(output: Path) -> Namespace:
    names = ("negative_prompt", "steps", "guidance_scale", "width", "height", "seed", "images")
    return Namespace(prompt="a red circle", output=output, **dict.fromkeys(names))


def test_each_picture_has_its_own_seed() -> None:
    assert seeds({"seed": 7, "images": ["", "", ""]}) == [7, 8, 9]
    assert seeds({"seed": 2**32 - 1, "images": ["", ""]}) == [2**32 - 1, 0]


def test_missing_folder_is_noticed_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"there is no folder .*nowhere: make it first"):
        request_of(options(tmp_path / "nowhere" / "a.png"))
    assert request_of(options(tmp_path / "a.png"))["format"] == "png"
