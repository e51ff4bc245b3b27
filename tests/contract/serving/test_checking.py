"""The safety checkers themselves, with weights by which the verdicts are known."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from diffusion_serving.engine.pipeline_interface import NotFiniteError, Picture
from diffusion_serving.fetch.checker_files import CheckerFiles, find_checker
from diffusion_serving.observability.startup_errors import ModelLoadFailed
from lazily import Lazily
from pipelines import image_request, loaded, pixels
from tiny_models import tiny_models

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from diffusion_serving.pipeline import checking
else:
    torch = Lazily("torch")
    checking = Lazily("diffusion_serving.pipeline.checking")

COLOURS = {"red": (250, 10, 20), "yellow": (240, 240, 10), "blue": (0, 0, 255), "white": (255,) * 3}


def painted(colour: str, width: int = 64, height: int = 48) -> Picture:
    """A picture whose mean is the colour, though half of its pixels are brighter than others."""
    red, green, blue = COLOURS[colour]
    light = [min(255, channel + 5) for channel in (red, green, blue)]
    pair = bytes([max(0, channel - 5) for channel in (red, green, blue)]) + bytes(light)
    return Picture(width, height, pair * (width * height // 2))


def files_of(kind: str) -> CheckerFiles:
    models = tiny_models()
    if kind == "own":
        files = find_checker(models.checked, "Model")
    else:
        files = find_checker(models.sd, None, ("hf://acme/decent", models.classifier))
    assert files is not None
    return files


def load(files: CheckerFiles, precision: str = "float32") -> Any:
    return checking.load_checker(files, torch.device("cpu"), getattr(torch, precision))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["own", "classifier"])
def test_verdicts_of_a_batch_are_each_pictures_own(kind: str, precision: str) -> None:
    checker = load(files_of(kind), precision)
    assert checker.name == {"own": "Model", "classifier": "hf://acme/decent"}[kind]
    pictures = [painted(colour) for colour in ("blue", "red", "yellow", "white", "red")]
    assert checker(pictures) == [False, True, False, False, True]
    assert checker([painted("red", 128, 8), painted("blue", 8, 64)]) == [True, False]


@pytest.mark.parametrize("kind", ["own", "classifier"])
def test_values_that_are_not_finite_are_no_verdict(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = load(files_of(kind))
    endless = {"pixel_values": torch.full((1, 3, 8, 8), float("nan"))}
    monkeypatch.setattr(checker, "_prepare", lambda **_: endless)
    with pytest.raises(NotFiniteError, match="set precision to float32"):
        checker([painted("red")])


@pytest.mark.parametrize("kind", ["own", "classifier"])
def test_weights_without_a_tensor_are_refused(kind: str, tmp_path: Path) -> None:
    files = files_of(kind)
    damaged = tmp_path / "damaged"
    shutil.copytree(files.weights, damaged)
    safetensors: Any = Lazily("safetensors.torch")
    weights = safetensors.load_file(damaged / "model.safetensors")
    weights.popitem()
    safetensors.save_file(weights, damaged / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadFailed, match="lack 1 tensors of the safety checker"):
        load(CheckerFiles(files.name, damaged, files.preparation, None, files.unsafe_labels))


def test_pipeline_has_the_checker_that_its_model_comes_with() -> None:
    models = tiny_models()
    checked, plain = loaded(models.checked), loaded(models.sd)
    assert checked.checker is not None
    assert (checked.checker.name, plain.checker) == ("Model", None)
    assert checked.checker([painted("red")]) == [True]
    assert pixels(checked, image_request()) == pixels(plain, image_request())
    assert loaded(models.checked, safety={"checker": "None"}).checker is None
    source = {"path": str(models.classifier), "source": "hf://acme/decent"}
    other = loaded(models.checked, safety={"checker": source}).checker
    assert other is not None
    assert other.name == "hf://acme/decent"
    with pytest.raises(ModelLoadFailed, match=r"safety.checker is Model, but .* names no"):
        loaded(models.sd, safety={"checker": "Model"})
