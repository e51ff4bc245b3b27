"""SDXL, LoRAs, the prompt cache, and the options that change speed only."""

from __future__ import annotations

import json
import shutil
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from diffusion_serving.engine.image_request import LoraUse
from diffusion_serving.engine.pipeline_interface import OutOfMemory
from diffusion_serving.engine.start import start_engine_runner
from diffusion_serving.observability.metrics import make_metrics
from diffusion_serving.observability.startup_errors import DeviceLost, ModelLoadFailed
from lazily import Lazily
from pipelines import count_unet_calls, furthest, image_request, loaded, pixels, watched

if TYPE_CHECKING:
    from collections.abc import Callable

    import safetensors.torch as files
    import torch
    from torch._dynamo import utils as dynamo

    from diffusion_serving.documents.serving_config import Scheduler
    from diffusion_serving.pipeline import DiffusersPipeline, failures
else:
    files = Lazily("safetensors.torch")
    torch = Lazily("torch")
    dynamo = Lazily("torch._dynamo.utils")
    failures = Lazily("diffusion_serving.pipeline.failures")


@pytest.fixture(scope="module")
def load(tiny_model: Path) -> Callable[..., DiffusersPipeline]:
    return partial(loaded, tiny_model)


@pytest.fixture(scope="module")
def plain(load: Any) -> DiffusersPipeline:
    return load()  # type: ignore[no-any-return]


# SDXL


@pytest.fixture(scope="module")
def load_xl(tiny_xl_model: Path) -> Callable[..., DiffusersPipeline]:
    return partial(loaded, tiny_xl_model)


@pytest.fixture(scope="module")
def xl(load_xl: Any) -> DiffusersPipeline:
    return load_xl()  # type: ignore[no-any-return]


def test_xl_image_does_not_depend_on_what_shares_its_batch(xl: DiffusersPipeline) -> None:
    batch = [
        image_request("a red circle", seeds=(1, 2)),
        image_request("two green squares", negative_prompt="blue", seeds=(3,)),
    ]
    together = pixels(xl, *batch)
    alone = [rgb for generation in batch for rgb in pixels(xl, generation)]
    assert [furthest(a, b) <= 1 for a, b in zip(together, alone, strict=True)] == [True] * 3
    assert furthest(together[0], together[1]) > 1


def test_xl_draws_what_diffusers_draws(xl: DiffusersPipeline, tiny_xl_model: Path) -> None:
    for negative_prompt in ("", "blue"):
        reference = xl._pipe(
            "a red circle",
            negative_prompt=negative_prompt or None,
            num_inference_steps=2,
            guidance_scale=2.0,
            width=64,
            height=64,
            generator=torch.Generator().manual_seed(1),
        ).images[0]
        ours = pixels(xl, image_request(negative_prompt=negative_prompt))[0]
        assert furthest(ours, reference.tobytes()) <= 1


@pytest.mark.parametrize("scheduler", ["ddim", "unipc", "euler-ancestral"])
def test_each_step_of_xl_is_one_call_of_the_unet(load_xl: Any, scheduler: Scheduler) -> None:
    pipeline = load_xl(scheduler)
    for steps in (1, 4, 7):
        assert count_unet_calls(pipeline, image_request(steps=steps)) == steps


def test_xl_without_its_second_text_encoder_is_refused(tiny_xl_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_xl_model, tmp_path / "copy"))
    index = json.loads((copy / "model_index.json").read_text())
    del index["text_encoder_2"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelLoadFailed, match="text_encoder_2"):
        loaded(copy)


# LoRAs


@pytest.fixture(scope="module")
def adapted(load: Any, tiny_loras: dict[str, Path]) -> DiffusersPipeline:
    loras = [{"name": name, "path": path} for name, path in tiny_loras.items()]
    return load(loras=loras)  # type: ignore[no-any-return]


def test_lora_changes_the_image_and_more_so_with_a_higher_scale(adapted: Any, plain: Any) -> None:
    base = pixels(adapted, image_request())[0]
    weak, strong = (
        pixels(adapted, image_request(lora=LoraUse("unet", scale)))[0] for scale in (0.2, 2.0)
    )
    assert 0 < furthest(weak, base) < furthest(strong, base)
    assert base == pixels(plain, image_request())[0], "a LoRA that no request names changes nothing"


def test_lora_leaves_no_trace_in_the_next_batch(adapted: Any, plain: Any) -> None:
    without = pixels(plain, image_request())[0]
    with_each: dict[LoraUse | None, bytes] = {}
    for _ in range(2):
        for lora in (LoraUse("text", 1.0), LoraUse("unet", 1.0), None):
            image = pixels(adapted, image_request(lora=lora))[0]
            assert with_each.setdefault(lora, image) == image
    assert with_each[None] == without
    assert len(set(with_each.values())) == 3


def test_lora_in_the_text_encoder_does_not_use_or_fill_the_prompt_cache(
    adapted: Any, plain: Any
) -> None:
    prompt = "a prompt that was never seen"
    first = pixels(adapted, image_request(prompt, lora=LoraUse("text", 1.0)))[0]
    assert pixels(adapted, image_request(prompt))[0] == pixels(plain, image_request(prompt))[0]
    assert pixels(adapted, image_request(prompt, lora=LoraUse("text", 1.0)))[0] == first


def test_lora_of_a_larger_model_is_refused(load: Any, tiny_loras: Any, tmp_path: Path) -> None:
    (source,) = tiny_loras["unet"].iterdir()
    file = tmp_path / "larger.safetensors"
    larger = {key: weights.repeat(2, 2) for key, weights in files.load_file(source).items()}
    files.save_file(larger, file)
    with pytest.raises(ModelLoadFailed, match="LoRA larger"):
        load(loras=[{"name": "larger", "path": file}])


def test_lora_of_another_kind_of_model_is_refused(load: Any, tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    files.save_file({"transformer.blocks.0.lora_A.weight": torch.zeros(2, 8)}, file)
    with pytest.raises(ModelLoadFailed, match="LoRA other"):
        load(loras=[{"name": "other", "path": file}])


def test_lora_as_a_pickle_is_refused(load: Any, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_lora_weights.bin")
    with pytest.raises(ModelLoadFailed, match="no safetensors file"):
        load(loras=[{"name": "bad", "path": tmp_path}])


# The prompt cache


def test_prompt_is_encoded_once(load: Any) -> None:
    pipeline = load()
    encoded: list[int] = []

    def look(_: Any, result: Any) -> None:
        encoded.append(len(result[0]))

    encoder = pipeline._pipe.text_encoder
    batch = [
        image_request("a"),
        image_request("b"),
        image_request("a", seeds=(1, 2, 3)),
        image_request("b"),
    ]
    watched(encoder, look, lambda: pipeline(batch))
    watched(
        encoder,
        look,
        lambda: pipeline([image_request("b", negative_prompt="c"), image_request("a")]),
    )
    watched(encoder, look, lambda: pipeline([image_request("a", negative_prompt="c")]))
    assert encoded == [3, 1], "first a, b and the empty negative prompt; then c; then nothing"


def test_cached_prompt_gives_the_same_image(load: Any) -> None:
    pipeline = load()
    first = pixels(pipeline, image_request(negative_prompt="blue"))
    assert pixels(pipeline, image_request(negative_prompt="blue")) == first


# Options


@pytest.mark.parametrize(
    "options",
    [{"channelsLast": True}, {"attention": "native_math"}, {"attention": "_native_flash"}],
    ids=str,
)
def test_option_leaves_the_image_as_it_is(load: Any, plain: Any, options: dict[str, Any]) -> None:
    image = pixels(load(**options), image_request(steps=4))[0]
    assert furthest(image, pixels(plain, image_request(steps=4))[0]) <= 1


def test_channels_last_is_what_runs(load: Any) -> None:
    weight = load(channelsLast=True)._pipe.unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_attention_that_the_device_does_not_have_is_an_error_not_another_one(load: Any) -> None:
    with pytest.raises(RuntimeError, match=r"backend|kernel"):
        load(attention="native_cudnn")([image_request()])


@pytest.mark.parametrize("name", ["sage", "flex"])
def test_attention_that_a_unet_cannot_use_is_refused(load: Any, name: str) -> None:
    with pytest.raises(ModelLoadFailed, match="native_flash"):
        load(attention=name)


def test_compilation_without_a_compiler_is_refused_with_what_to_do_before_weights_are_read(
    load: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reads = "diffusion_serving.pipeline.loading._from_pretrained"
    monkeypatch.setattr(reads, lambda *_: pytest.fail("weights are read"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ModelLoadFailed, match=r"C\+\+ compiler.*g\+\+.*compile to none"):
        load(compile="regional")


@pytest.mark.parametrize("how", ["regional", "full"])
def test_each_batch_size_is_compiled_for_in_the_warm_up_and_none_later(
    load: Any, plain: Any, how: str, quick_compilation: None
) -> None:
    assert_compiled_once(load(compile=how, batching={"maxSize": 4}), plain)


@pytest.mark.full
@pytest.mark.parametrize("how", ["regional", "full"])
def test_compiled_model_draws_the_same(load: Any, plain: Any, how: str) -> None:
    assert_compiled_once(load(compile=how, batching={"maxSize": 4}), plain)


def assert_compiled_once(pipeline: DiffusersPipeline, plain: DiffusersPipeline) -> None:
    assert pipeline.batch_sizes == [1, 2, 4]
    for size in pipeline.batch_sizes:  # as the warm-up does
        pipeline([image_request(seeds=tuple(range(size)))])
    compiled = _compiled_frames()
    assert compiled > 0
    images = {
        size: pixels(pipeline, image_request(seeds=tuple(range(size)))) for size in (1, 2, 3, 4)
    }
    assert _compiled_frames() == compiled
    reference = pixels(plain, image_request(seeds=(0, 1, 2, 3)))
    for size, made in images.items():
        assert len(made) == size
        assert [furthest(a, b) <= 1 for a, b in zip(made, reference, strict=False)] == [True] * size


@pytest.mark.parametrize(
    "default", [2.0, pytest.param(1.0, marks=pytest.mark.full)], ids=["guided", "unguided"]
)
def test_steps_with_and_without_guidance_are_compiled_for_before_the_engine_is_ready(
    load: Any, quick_compilation: None, default: float
) -> None:
    pipeline = load(compile="full", batching={"maxSize": 2})
    usual = image_request(guidance_scale=default)
    start_engine_runner(
        lambda: pipeline,
        lambda _: usual,
        max_images=2,
        metrics=make_metrics(),
        timed=False,
        stepwise=True,
        blur=False,
    )
    compiled = _compiled_frames()
    assert compiled > 0
    steps = pipeline.stepwise
    for guidance in (1.0, 7.5):
        for images in (1, 2):
            request = image_request(steps=1, guidance_scale=guidance, seeds=tuple(range(images)))
            (states,) = steps.begin([request])
            steps.step(states)
            steps.decode(states)
    assert _compiled_frames() == compiled


def test_a_new_scale_of_a_lora_compiles_nothing(
    load: Any, tiny_loras: dict[str, Path], quick_compilation: None
) -> None:
    pipeline = load(
        compile="full",
        batching={"maxSize": 1},
        loras=[{"name": "unet", "path": tiny_loras["unet"]}],
    )
    pixels(pipeline, image_request(lora=LoraUse("unet", 0.3)))
    compiled = _compiled_frames()
    images = {
        pixels(pipeline, image_request(lora=LoraUse("unet", scale)))[0] for scale in (0.4, 1.0, 2.0)
    }
    assert _compiled_frames() == compiled
    assert len(images) == 3


def _compiled_frames() -> int:
    return int(dynamo.counters["stats"]["unique_graphs"])


def test_steps_are_reported_after_each_call_of_the_unet(plain: Any) -> None:
    happened: list[Any] = []
    unet = plain._pipe.unet
    watched(
        unet,
        lambda *_: happened.append("unet"),
        lambda: plain([image_request(steps=3)], lambda *step: happened.append(step)),
    )
    assert happened == ["unet", (1, 3), "unet", (2, 3), "unet", (3, 3)]


# Failures of the device


def test_allocation_that_fails_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemory):
        failures.guarded(lambda: torch.empty(2**60, dtype=torch.uint8), probe=lambda: None)


def test_failed_call_holds_no_memory_when_out_of_memory_is_raised() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def fill_memory() -> None:
        tensor = torch.zeros(8)
        held.append(weakref.ref(tensor))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory):
        failures.guarded(fill_memory, probe=lambda: None)
    assert held[0]() is None


def test_failure_after_which_the_device_is_dead_is_a_lost_device() -> None:
    def fail() -> None:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")

    def probe() -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    with pytest.raises(DeviceLost, match="unspecified launch failure"):
        failures.guarded(fail, probe)
    with pytest.raises(RuntimeError, match="EXECUTION_FAILED"):
        failures.guarded(fail, probe=lambda: None)
