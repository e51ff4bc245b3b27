"""The real diffusers pipeline on a tiny model."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from diffusion_serving.documents.serving_config import Scheduler
from diffusion_serving.engine.pipeline_interface import STAGES, NotFiniteError
from diffusion_serving.fetch.model_files import inspect
from diffusion_serving.observability.startup_errors import ModelLoadFailed, WrongDevice
from lazily import Lazily
from pipelines import configured, count_unet_calls, furthest, image_request, loaded, pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from diffusion_serving import pipeline as serving_pipeline
    from diffusion_serving.pipeline import DiffusersPipeline
else:
    torch = Lazily("torch")
    serving_pipeline = Lazily("diffusion_serving.pipeline")

SCHEDULERS: tuple[Scheduler, ...] = get_args(Scheduler)


@pytest.fixture(scope="module")
def load(tiny_model: Path) -> Callable[..., DiffusersPipeline]:
    return partial(loaded, tiny_model)


@pytest.fixture(scope="module")
def pipeline(load: Any) -> DiffusersPipeline:
    return load()  # type: ignore[no-any-return]


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the model's directory, for the test to damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_each_step_is_one_call_of_the_unet(load: Any, scheduler: Scheduler) -> None:
    pipeline = load(scheduler)
    for steps in (1, 2, 4, 7, 60):
        assert count_unet_calls(pipeline, image_request(steps=steps)) == steps


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_same_seed_gives_the_same_image_and_another_seed_another(
    load: Any, scheduler: Scheduler
) -> None:
    pipeline = load(scheduler)
    first = pixels(pipeline, image_request(seeds=(7,)))
    pixels(pipeline, image_request("something else", steps=5, seeds=(8,)))
    assert pixels(pipeline, image_request(seeds=(7,))) == first
    assert pixels(pipeline, image_request(seeds=(8,))) != first


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_image_does_not_depend_on_what_shares_its_batch(load: Any, scheduler: Scheduler) -> None:
    pipeline = load(scheduler)
    batch = [
        image_request("a red circle", seeds=(1, 2)),
        image_request("two green squares", negative_prompt="blue", seeds=(3,)),
        image_request("a star", seeds=(1,)),
    ]
    together = pixels(pipeline, *batch)
    alone = [rgb for generation in batch for rgb in pixels(pipeline, generation)]
    assert len(together) == 4
    assert [furthest(a, b) <= 1 for a, b in zip(together, alone, strict=True)] == [True] * 4
    assert furthest(together[0], together[1]) > 1


def test_image_i_of_a_request_is_that_of_seed_plus_i(pipeline: DiffusersPipeline) -> None:
    both = pixels(pipeline, image_request(seeds=(5, 6)))
    assert furthest(both[1], pixels(pipeline, image_request(seeds=(6,)))[0]) <= 1


def test_prompt_negative_prompt_and_guidance_change_the_image(pipeline: DiffusersPipeline) -> None:
    images = {
        pixels(pipeline, generation)[0]
        for generation in (
            image_request(),
            image_request("two green squares"),
            image_request(negative_prompt="blue"),
            image_request(guidance_scale=9.0),
            image_request(guidance_scale=1.0),
        )
    }
    assert len(images) == 5


def test_picture_has_the_size_asked_for(pipeline: DiffusersPipeline) -> None:
    ((picture,),) = pipeline([image_request(width=128, height=72)]).pictures
    assert (picture.width, picture.height, len(picture.rgb)) == (128, 72, 128 * 72 * 3)


def test_prompt_longer_than_the_model_reads_is_cut_without_being_logged(
    pipeline: DiffusersPipeline, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert pixels(pipeline, image_request("a red circle " * 50 + "secret"))
    out, err = capfd.readouterr()
    assert "secret" not in caplog.text + out + err
    assert "circle" not in caplog.text + out + err


def test_stages_are_timed(pipeline: DiffusersPipeline) -> None:
    seconds = pipeline([image_request(steps=4)]).seconds
    assert tuple(seconds) == STAGES
    assert all(value > 0 for value in seconds.values())


def test_batch_of_different_keys_is_refused(pipeline: DiffusersPipeline) -> None:
    with pytest.raises(ValueError, match="batch key"):
        pipeline([image_request(steps=2), image_request(steps=3)])


def test_pipeline_knows_itself(pipeline: DiffusersPipeline) -> None:
    assert (pipeline.device, pipeline.dtype) == ("cpu", "float32")
    assert pipeline.native_size == (64, 64)
    assert pipeline.device_memory_bytes is None
    assert pipeline.device_name


def test_bfloat16_is_what_runs(load: Any) -> None:
    pipeline = load(precision="bfloat16")
    assert pipeline.dtype == "bfloat16"
    assert {p.dtype for p in pipeline._pipe.text_encoder.parameters()} == {torch.bfloat16}
    full = pixels(load(), image_request())[0]
    assert 0 < furthest(pixels(pipeline, image_request())[0], full) < 64


def test_values_that_are_not_finite_are_an_error_not_a_black_image(load: Any) -> None:
    pipeline = load()
    with torch.no_grad():
        pipeline._pipe.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(NotFiniteError):
        pipeline([image_request()])


def test_half_precision_weights_load_in_the_precision_asked_for(load: Any, tmp_path: Path) -> None:
    load()._pipe.to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    files = inspect(tmp_path)
    assert files.variant == "fp16"
    pipeline = serving_pipeline.load_pipeline(files, configured(tmp_path))
    assert {p.dtype for p in pipeline._pipe.text_encoder.parameters()} == {torch.float32}
    assert pixels(pipeline, image_request())


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="shows what happens without a GPU")
def test_cuda_without_a_gpu_is_the_wrong_device(load: Any) -> None:
    with pytest.raises(
        WrongDevice,
        match=r"no CUDA device.* torch says: (Found no NVIDIA|Torch not)",
    ):
        load(device="cuda")


def test_pickled_weights_alone_are_refused(copy: Path) -> None:
    file = copy / "unet/diffusion_pytorch_model.safetensors"
    torch.save({}, file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(ModelLoadFailed, match="only as a pickle"):
        inspect(copy)


def test_corrupted_weights_are_refused(copy: Path) -> None:
    file = copy / "unet/diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelLoadFailed, match="not a whole safetensors file"):
        inspect(copy)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_of_another_model_are_refused(copy: Path, part: str) -> None:
    other = "vae" if part == "unet" else "unet"
    (source,) = (copy / other).glob("*.safetensors")
    (target,) = (copy / part).glob("*.safetensors")
    shutil.copyfile(source, target)
    with pytest.raises(ModelLoadFailed, match="belong together"):
        loaded(copy)


def test_configuration_of_another_model_is_refused(copy: Path) -> None:
    file = copy / "unet/config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "block_out_channels": [16, 16]}))
    with pytest.raises(ModelLoadFailed, match="belong together"):
        loaded(copy)
