import json
from pathlib import Path
from typing import Any

import pytest

from diffusion_serving.config import read_settings
from diffusion_serving.errors import InvalidConfiguration

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "backend": "fastapi",
    "model": {"path": "/models/demo", "source": "image:///models/demo"},
    "device": "cuda",
    "precision": "bfloat16",
    "generation": {
        "steps": 4,
        "guidanceScale": 2.0,
        "width": None,
        "height": 128,
        "scheduler": "dpm++2m",
    },
    "limits": {
        "maxSteps": 50,
        "maxPixels": 65536,
        "maxImagesPerRequest": 2,
        "maxPromptLength": 100,
    },
    "queue": {"maxLength": 8, "timeoutSeconds": 12.5},
}


def environment(**changes: Any) -> dict[str, str]:
    return {"DIFFUSION_SERVING_CONFIG": json.dumps({**DOCUMENT, **changes})}


def test_whole_document_is_read_from_the_environment() -> None:
    settings = read_settings(
        [], {**environment(), "DIFFUSION_REVISION": "demo-7f", "DIFFUSION_SERVICE": "demo"}
    )
    config = settings.config
    assert config.model_dump(mode="json", by_alias=True) == DOCUMENT
    assert (settings.revision, settings.service, settings.port) == ("demo-7f", "demo", 8000)


def test_file_wins_over_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "serving.json"
    file.write_text(json.dumps({**DOCUMENT, "queue": {"maxLength": 3}}))
    settings = read_settings(["--config", str(file)], environment())
    assert settings.config.queue.max_length == 3


def test_flags_alone_are_enough() -> None:
    settings = read_settings(["--model", "/m", "--port", "9000", "--host", "127.0.0.1"], {})
    config = settings.config
    assert (config.backend, config.device, config.precision) == ("fastapi", "cpu", "float32")
    assert (config.model.path, settings.port, settings.host) == (Path("/m"), 9000, "127.0.0.1")


def test_flags_win_over_the_document() -> None:
    config = read_settings(
        ["--model", "/other", "--device", "cpu", "--precision", "float32"], environment()
    ).config
    assert (config.model.path, config.device, config.precision) == (
        Path("/other"),
        "cpu",
        "float32",
    )
    assert config.generation.guidance_scale == 2.0


def test_precision_follows_the_device_if_not_given() -> None:
    assert read_settings(["--model", "m", "--device", "cuda"], {}).config.precision == "float16"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version"),
        ({"backend": "flask"}, "backend: input should be 'fastapi'"),
        ({"device": "tpu"}, "device"),
        ({"device": "cpu", "precision": "float16"}, "float16 needs a GPU"),
        ({"surprise": 1}, "surprise"),
        ({"generation": {"steps": 51}}, "limits.maxSteps 50"),
        ({"generation": {"width": 100}}, "generation.width"),
        ({"generation": {"width": 512, "height": 512}}, "limits.maxPixels 65536"),
        ({"generation": {"scheduler": "pndm"}}, "generation.scheduler"),
        ({"limits": {"maxSteps": 0}}, "limits.maxSteps"),
        ({"queue": {"timeoutSeconds": 0}}, "queue.timeoutSeconds"),
        ({"queue": {"timeoutSeconds": "NaN"}}, "queue.timeoutSeconds"),
    ],
)
def test_wrong_document_is_refused_by_the_name_of_its_field(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        read_settings([], environment(**changes))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("argv", "environ", "words"),
    [
        ([], {}, "--model"),
        ([], {"DIFFUSION_SERVING_CONFIG": "{"}, "not JSON"),
        ([], {"DIFFUSION_SERVING_CONFIG": "[]"}, "not a JSON object"),
        (["--config", "/nowhere.json"], {}, "Cannot read /nowhere.json"),
        (["--model", "m"], {"DIFFUSION_DRAIN_SECONDS": "soon"}, "DIFFUSION_DRAIN_SECONDS"),
        (["--model", "m"], {"DIFFUSION_DRAIN_SECONDS": "-1"}, "DIFFUSION_DRAIN_SECONDS"),
    ],
)
def test_unusable_start_is_refused_with_what_to_do(
    argv: list[str], environ: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        read_settings(argv, environ)
    assert words in str(refused.value)


def test_more_steps_than_every_scheduler_can_do_are_never_served() -> None:
    config = read_settings([], environment(limits={"maxSteps": 1000})).config
    assert config.limits.steps == 500


def test_configuration_cannot_be_changed() -> None:
    config = read_settings([], environment()).config
    with pytest.raises(ValueError, match="frozen"):
        config.device = "cpu"  # type: ignore[misc]
