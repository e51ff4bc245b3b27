import json
from pathlib import Path
from typing import Any

import pytest

from diffusion_serving.observability.startup_errors import InvalidConfiguration
from diffusion_serving.settings import read_settings

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "backend": "fastapi",
    "model": {
        "path": "/models/demo",
        "source": "hf://org/demo",
        "revision": "v1",
        "loras": [{"name": "sketch", "path": "/models/store/ab", "scale": 0.8}],
    },
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
    "devices": 2,
    "batching": {"mode": "engine", "maxSize": 4, "maxWaitMilliseconds": 5},
    "compile": "regional",
    "attention": "_native_flash",
    "channelsLast": True,
    "rayserve": {"topology": "cluster"},
    "auth": {"apiKeyFile": "/etc/diffusion/auth/key"},
    "provenance": {
        "metadata": False,
        "contentCredentials": {
            "certificateFile": "/etc/diffusion/credentials/tls.crt",
            "privateKeyFile": "/etc/diffusion/credentials/tls.key",
        },
    },
    "safety": {"checker": {"path": "/models/store/cd", "source": "hf://org/d"}, "action": "Blur"},
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


def test_another_model_keeps_the_loras_of_the_document() -> None:
    loras = [{"name": "ink", "path": "/l/ink"}]
    model = {"path": "/m", "source": "hf://a/b", "revision": "main", "loras": loras}
    settings = read_settings(["--model", "/n"], environment(model=model))
    assert settings.config.model.path == Path("/n")
    assert [lora.name for lora in settings.config.model.loras] == ["ink"]
    assert settings.config.model.source is None


@pytest.mark.parametrize("port", ["80000", "0", "-1", "http"])
def test_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--model", "/m", f"--port={port}"], {})
    assert "is no port: write 1 to 65535" in capsys.readouterr().err


def test_flags_win_over_the_document() -> None:
    config = read_settings(
        ["--model", "/other", "--device", "cpu", "--precision", "float32"],
        environment(devices=1),
    ).config
    assert (config.model.path, config.device, config.precision) == (
        Path("/other"),
        "cpu",
        "float32",
    )
    assert config.generation.guidance_scale == 2.0


def test_flags_and_document_fill_one_object_together() -> None:
    batching = read_settings(["--max-batch", "3"], environment()).config.batching
    assert (batching.max_size, batching.max_wait_milliseconds) == (3, 5)


def test_every_part_of_the_engine_has_a_flag() -> None:
    argv = ["--model", "/m", "--backend", "litserve", "--device", "cuda", "--devices", "4"]
    argv += ["--batching", "framework", "--max-wait", "20", "--compile", "full"]
    argv += ["--attention", "native", "--channels-last", "--api-key-file", "/keys"]
    argv += ["--lora", "ink=/l/ink", "--lora", "oil=/l/oil"]
    argv += ["--safety-checker", "/l/decent", "--safety-action", "Blur"]
    config = read_settings(argv, {}).config
    assert (config.backend, config.devices, config.compile) == ("litserve", 4, "full")
    assert config.safety.choice == (None, ("/l/decent", Path("/l/decent")))
    assert config.safety.action == "Blur"
    assert (config.batching.mode, config.batching.max_wait_milliseconds) == ("framework", 20)
    assert (config.attention, config.channels_last) == ("native", True)
    assert config.auth is not None
    assert config.auth.api_key_file == Path("/keys")
    loras = config.model.loras
    assert [(lora.name, lora.path, lora.scale) for lora in loras] == [
        ("ink", Path("/l/ink"), 1.0),
        ("oil", Path("/l/oil"), 1.0),
    ]


def test_defaults_are_the_engines_batching_on_one_device_without_a_key() -> None:
    config = read_settings(["--model", "/m"], {}).config
    batching = config.batching
    assert (batching.mode, batching.max_size, batching.max_wait_milliseconds) == ("engine", None, 0)
    assert (config.devices, config.compile, config.attention) == (1, "none", "default")
    assert (config.rayserve.topology, config.auth, config.model.loras) == ("pods", None, ())


@pytest.mark.parametrize(
    ("flags", "most"),
    [
        (["--device", "cuda"], 64),
        (["--device", "cuda", "--max-batch", "8"], 8),
        (["--device", "cuda", "--compile", "full"], 8),
        (["--device", "cuda", "--batching", "none"], 8),
        ([], 8),
        (["--max-batch", "3"], 3),
    ],
)
def test_the_cost_curve_alone_bounds_a_step_on_a_gpu_where_nobody_sets_a_bound(
    flags: list[str], most: int
) -> None:
    assert read_settings(["--model", "m", *flags], {}).config.most_images == most


@pytest.mark.parametrize("checker", ["None", "Model"])
def test_checkers_flag_takes_the_words_of_the_document(checker: str) -> None:
    argv = ["--model", "/m", "--safety-checker", checker]
    config = read_settings(argv, {}).config
    assert (config.safety.choice, config.safety.action) == ((checker, None), "Refuse")
    assert read_settings(argv[:2], {}).config.safety.choice == (None, None)


def test_precision_follows_the_device_if_not_given() -> None:
    assert read_settings(["--model", "m", "--device", "cuda"], {}).config.precision == "float16"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version"),
        ({"backend": "flask"}, "backend: input should be 'fastapi', 'litserve' or"),
        ({"device": "tpu"}, "device"),
        ({"device": "cpu", "devices": 1, "precision": "float16"}, "float16 needs a GPU"),
        ({"device": "cpu", "precision": "float32"}, "devices is 2, but a CPU is one device"),
        ({"devices": 0}, "devices: input should be greater"),
        ({"batching": {"mode": "framework"}}, "FastAPI has no batching of its own"),
        ({"batching": {"maxSize": 0}}, "batching.maxSize"),
        ({"batching": {"maxWaitMilliseconds": -1}}, "batching.maxWaitMilliseconds"),
        ({"compile": "yes"}, "compile: input should be 'none', 'regional' or 'full'"),
        ({"attention": "sage_hub"}, "attention: sage_hub downloads code"),
        ({"attention": "../flash"}, "attention"),
        ({"rayserve": {"topology": "ring"}}, "rayserve.topology"),
        ({"auth": {}}, "auth.apiKeyFile: field required"),
        ({"provenance": {"contentCredentials": {"certificateFile": "/c"}}}, "privateKeyFile"),
        ({"safety": {"checker": {"source": "hf://org/d"}}}, "path: field required"),
        ({"safety": {"action": "Hide"}}, "safety.action: input should be 'Refuse' or 'Blur'"),
        ({"model": {"source": "x"}}, "wrong: model.path: field required."),
        ({"model": {"path": "/m", "loras": [{"name": "a.b", "path": "/l"}]}}, "'a.b' is no name"),
        ({"model": {"path": "/m", "loras": [{"name": "a", "path": "/l"}] * 2}}, "given twice"),
        (
            {"model": {"path": "/m", "loras": [{"name": "a", "path": "/l", "scale": 5}]}},
            "model.loras.0.scale",
        ),
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
def test_wrong_document_is_refused_with_the_name_of_its_field(
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
        (["--model", "m", "--lora", "ink"], {}, "--lora is 'ink': write NAME=PATH"),
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
