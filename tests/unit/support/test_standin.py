"""The stand-in of the pipeline: what of the real one it keeps."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.fetch.model_files import inspect
from diffusion_serving.observability.startup_errors import ModelLoadFailed, WrongDevice
from standin.pipeline import load_pipeline

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "images/demo_model/weights"
ASKED = ImageRequest("a circle", "", steps=3, guidance_scale=2.0, width=64, height=32, seeds=(1, 2))


def config(**changes: object) -> ServingConfig:
    model = {"path": str(MODEL), "source": "image:///models/demo", **changes.pop("model", {})}  # type: ignore[dict-item]
    return ServingConfig.model_validate({"version": 1, "model": model, **changes})


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0")
    monkeypatch.setenv("STANDIN_BATCH_SECONDS", "0")
    return load_pipeline(inspect(MODEL), config())


def drawn(pipeline: Pipeline, *batch: ImageRequest) -> list[bytes]:
    return [picture.rgb for pictures in pipeline(batch).pictures for picture in pictures]


def test_it_is_of_the_models_size_and_the_precision_that_was_asked_for(pipeline: Pipeline) -> None:
    assert (pipeline.native_size, pipeline.device, pipeline.dtype) == ((128, 128), "cpu", "float32")


def test_a_picture_follows_from_what_was_asked_alone_and_in_company(pipeline: Pipeline) -> None:
    other = replace(ASKED, prompt="a square", seeds=(1,))
    first, second, third = drawn(pipeline, ASKED, other)
    assert len({first, second, third}) == 3
    assert [len(first), len(third)] == [3 * 64 * 32] * 2
    assert drawn(pipeline, ASKED) == [first, second]
    assert drawn(pipeline, replace(ASKED, steps=4)) != [first, second]


def test_each_step_is_told(pipeline: Pipeline) -> None:
    told: list[tuple[int, int]] = []
    output = pipeline([ASKED], lambda step, steps: told.append((step, steps)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert set(output.seconds) == {"text_encoder", "denoise", "vae"}


def test_what_shares_no_batch_key_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="batch key"):
        pipeline([ASKED, replace(ASKED, steps=4)])


def test_a_gpu_is_refused_as_where_there_is_none() -> None:
    with pytest.raises(WrongDevice, match="this process sees no CUDA device"):
        load_pipeline(inspect(MODEL), config(device="cuda", precision="float16"))


def test_a_lora_that_is_not_there_is_refused(tmp_path: Path) -> None:
    loras = [{"name": "none", "path": str(tmp_path / "none")}]
    with pytest.raises(ModelLoadFailed, match="none"):
        load_pipeline(inspect(MODEL), config(model={"loras": loras}))


def test_a_process_takes_it_for_the_pipeline_and_imports_no_torch() -> None:
    path = f"{ROOT}/tests/support/standin/path:{ROOT}/serving"
    program = (
        "import sys; from diffusion_serving.pipeline import load_pipeline; "
        "print(load_pipeline.__code__.co_filename, 'torch' in sys.modules)"
    )
    told = subprocess.check_output(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, text=True
    )
    assert told.split() == [f"{ROOT}/tests/support/standin/pipeline/__init__.py", "False"]
