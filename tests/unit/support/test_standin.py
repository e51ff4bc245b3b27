"""The stand-in of the pipeline, and the behaviour that it shares with the real one."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.fetch.model_files import inspect
from diffusion_serving.observability.startup_errors import ModelLoadFailed, WrongDevice
from standin.pipeline import load_pipeline

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "images/demo_model/weights"
REQUEST = ImageRequest(
    "a circle", "", steps=3, guidance_scale=2.0, width=64, height=32, seeds=(1, 2)
)


def config(**changes: object) -> ServingConfig:
    model = {"path": str(MODEL), "source": "image:///models/demo", **changes.pop("model", {})}  # type: ignore[dict-item]
    return ServingConfig.model_validate({"version": 1, "model": model, **changes})


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0")
    monkeypatch.setenv("STANDIN_BATCH_SECONDS", "0")
    return load_pipeline(inspect(MODEL), config())


def pictures_of(pipeline: Pipeline, *batch: ImageRequest) -> list[bytes]:
    return [picture.rgb for pictures in pipeline(batch).pictures for picture in pictures]


def test_the_stand_in_has_the_models_size_and_the_configured_precision(pipeline: Pipeline) -> None:
    assert (pipeline.native_size, pipeline.device, pipeline.dtype) == ((128, 128), "cpu", "float32")


def test_a_picture_depends_on_its_request_and_not_on_the_rest_of_the_batch(
    pipeline: Pipeline,
) -> None:
    other = replace(REQUEST, prompt="a square", seeds=(1,))
    first, second, third = pictures_of(pipeline, REQUEST, other)
    assert len({first, second, third}) == 3
    assert [len(first), len(third)] == [3 * 64 * 32] * 2
    assert pictures_of(pipeline, REQUEST) == [first, second]
    assert pictures_of(pipeline, replace(REQUEST, steps=4)) != [first, second]


def test_each_step_is_reported(pipeline: Pipeline) -> None:
    progress: list[tuple[int, int]] = []
    output = pipeline([REQUEST], lambda step, steps: progress.append((step, steps)))
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert set(output.seconds) == {"text_encoder", "denoise", "vae"}


def test_requests_without_a_common_batch_key_are_refused(pipeline: Pipeline) -> None:
    with pytest.raises(ValueError, match="batch key"):
        pipeline([REQUEST, replace(REQUEST, steps=4)])


def test_a_gpu_is_refused_as_on_a_machine_without_one() -> None:
    with pytest.raises(WrongDevice, match="this process sees no CUDA device"):
        load_pipeline(inspect(MODEL), config(device="cuda", precision="float16"))


def test_a_lora_that_is_not_there_is_refused(tmp_path: Path) -> None:
    loras = [{"name": "none", "path": str(tmp_path / "none")}]
    with pytest.raises(ModelLoadFailed, match="none"):
        load_pipeline(inspect(MODEL), config(model={"loras": loras}))


def test_a_process_loads_the_stand_in_as_its_pipeline_and_imports_no_torch() -> None:
    path = f"{ROOT}/tests/support/standin/path:{ROOT}/serving"
    program = (
        "import sys; from diffusion_serving.pipeline import load_pipeline; "
        "print(load_pipeline.__code__.co_filename, 'torch' in sys.modules)"
    )
    output = subprocess.check_output(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, text=True
    )
    assert output.split() == [f"{ROOT}/tests/support/standin/pipeline/__init__.py", "False"]
