import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from diffusion_serving.fetch.model_files import WEIGHTS, inspect
from diffusion_serving.observability.startup_errors import ModelLoadFailed

INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "text_encoder": ["transformers", "CLIPTextModel"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A valid model directory, with weights of a few bytes."""
    write_index(tmp_path)
    for part in ("tokenizer", "scheduler", *WEIGHTS):
        (tmp_path / part).mkdir()
    for part in WEIGHTS:
        write_weights(weights(tmp_path, part))
    return tmp_path


def write_index(path: Path, **changes: Any) -> None:
    (path / "model_index.json").write_text(json.dumps({**INDEX, **changes}))


def write_weights(file: Path) -> None:
    save_file({"weight": np.arange(64, dtype=np.float32)}, file)


def weights(path: Path, part: str) -> Path:
    return path / part / f"{WEIGHTS[part]}.safetensors"


def refusal(path: Path) -> str:
    with pytest.raises(ModelLoadFailed) as refused:
        inspect(path)
    return str(refused.value)


def test_whole_directory_passes(model: Path) -> None:
    assert inspect(model).variant is None


def test_sharded_weights_pass(model: Path) -> None:
    weights(model, "unet").unlink()
    for shard in (1, 2):
        write_weights(model / f"unet/diffusion_pytorch_model-0000{shard}-of-00002.safetensors")
    assert inspect(model).variant is None


def test_half_precision_variant_is_used_if_it_is_all_there_is(model: Path) -> None:
    for part, stem in WEIGHTS.items():
        weights(model, part).rename(model / part / f"{stem}.fp16.safetensors")
    assert inspect(model).variant == "fp16"


def test_missing_directory(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_directory_without_an_index(model: Path) -> None:
    (model / "model_index.json").unlink()
    assert "no model_index.json" in refusal(model)


@pytest.mark.parametrize("text", ["{", "\udcff"])
def test_index_that_is_not_json(model: Path, text: str) -> None:
    (model / "model_index.json").write_bytes(text.encode(errors="surrogateescape"))
    assert "cannot be read as JSON" in refusal(model)


@pytest.mark.parametrize("name", ["FluxPipeline", ["mine", "Pipeline"], None])
def test_other_pipeline_class(model: Path, name: Any) -> None:
    write_index(model, _class_name=name)
    assert "served are StableDiffusionPipeline" in refusal(model)


@pytest.mark.parametrize("part", [["my_code", "UNet"], None, [None, None], "diffusers"])
def test_part_of_another_library(model: Path, part: Any) -> None:
    write_index(model, unet=part)
    assert "never code that comes with a model" in refusal(model)


def test_class_of_another_kind_of_model(model: Path) -> None:
    write_index(model, unet=["diffusers", "FluxTransformer2DModel"])
    assert "has UNet2DConditionModel there" in refusal(model)


def test_missing_part(model: Path) -> None:
    (model / "tokenizer").rmdir()
    assert "no directory tokenizer" in refusal(model)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt"])
def test_pickled_weights_alone(model: Path, name: str) -> None:
    weights(model, "unet").unlink()
    (model / "unet" / name).write_bytes(b"\x80\x04.")
    assert "only as a pickle" in refusal(model)
    assert "save_pretrained" in refusal(model)


def test_pickled_weights_beside_safetensors_do_not_matter(model: Path) -> None:
    (model / "unet/diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert inspect(model)


def test_missing_weights(model: Path) -> None:
    weights(model, "vae").unlink()
    assert "vae has no diffusion_pytorch_model.safetensors" in refusal(model)


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_cut_off_weights(model: Path, keep: int) -> None:
    file = weights(model, "text_encoder")
    file.write_bytes(file.read_bytes()[:keep])
    assert f"{file} is not a whole safetensors file" in refusal(model)


def test_pointer_of_git_lfs_instead_of_weights(model: Path) -> None:
    weights(model, "unet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "git lfs pull" in refusal(model)
