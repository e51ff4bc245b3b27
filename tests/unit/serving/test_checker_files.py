"""The choice of a safety checker, and the refusal of those that cannot be loaded."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from diffusion_serving.fetch.checker_files import CheckerFiles, find_checker
from diffusion_serving.observability.startup_errors import ModelLoadFailed

SAFETENSORS = (2).to_bytes(8, "little") + b"{}"
OWN = {
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
}
LABELS = {"0": "normal", "1": "nsfw"}


def written(folder: Path, **files: Any) -> Path:
    """Writes JSON documents, and weights for the name `weights`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if name == "weights":
            (folder / content).write_bytes(SAFETENSORS)
        else:
            (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with a checker of its own."""
    written(tmp_path, model_index=OWN)
    written(
        tmp_path / "safety_checker",
        config={"architectures": ["StableDiffusionSafetyChecker"]},
        weights="model.safetensors",
    )
    written(tmp_path / "feature_extractor", preprocessor_config={})
    return tmp_path


def classifier(folder: Path, labels: Mapping[str, str] = LABELS, **config: Any) -> Path:
    config = {"architectures": ["ViTForImageClassification"], "id2label": labels, **config}
    return written(
        folder / "classifier", config=config, preprocessor_config={}, weights="model.safetensors"
    )


@pytest.mark.parametrize("choice", [None, "Model"])
def test_models_own_checker_is_the_default(model: Path, choice: Any) -> None:
    assert find_checker(model, choice) == CheckerFiles(
        "Model", model / "safety_checker", model / "feature_extractor", None, None
    )


def test_none_checks_nothing(model: Path) -> None:
    assert find_checker(model, "None") is None


def test_half_precision_weights_are_taken_where_there_are_no_others(model: Path) -> None:
    weights = model / "safety_checker/model.safetensors"
    weights.rename(weights.with_name("model.fp16.safetensors"))
    files = find_checker(model, None)
    assert files is not None
    assert files.variant == "fp16"


@pytest.mark.parametrize(
    ("index", "words", "is_logged"),
    [
        ({}, "names no safety_checker", False),
        ({"safety_checker": [None, None]}, "names no safety_checker", False),
        ({"safety_checker": ["mine", "Checker"]}, "never code that comes with a model", True),
        ({"feature_extractor": ["mine", "Checker"]}, "never code that comes with a model", True),
    ],
)
def test_model_without_a_usable_checker_is_served_unless_one_is_asked_for(
    model: Path,
    caplog: pytest.LogCaptureFixture,
    index: dict[str, Any],
    words: str,
    is_logged: bool,
) -> None:
    written(model, model_index=(OWN if index else {}) | index)
    with caplog.at_level(logging.WARNING):
        assert find_checker(model, None) is None
    assert bool(caplog.records) == is_logged
    with pytest.raises(ModelLoadFailed, match=words) as raised:
        find_checker(model, "Model")
    assert "Name another checker as safety.checker" in str(raised.value)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("safety_checker/model.safetensors", "a pickle is refused, and a model that an earlier"),
        ("feature_extractor/preprocessor_config.json", "has no preprocessor_config.json"),
    ],
)
def test_checker_with_a_missing_file_is_no_checker(model: Path, missing: str, words: str) -> None:
    (model / missing).unlink()
    assert find_checker(model, None) is None
    with pytest.raises(ModelLoadFailed, match=re.escape(words)):
        find_checker(model, "Model")


def test_damaged_checker_is_refused_even_by_default(model: Path) -> None:
    (model / "safety_checker/model.safetensors").write_bytes(SAFETENSORS[:5])
    with pytest.raises(ModelLoadFailed, match="not a whole safetensors file"):
        find_checker(model, None)


def test_source_goes_before_the_models_own(model: Path) -> None:
    folder = classifier(model)
    files = find_checker(model, None, ("hf://acme/decent", folder))
    assert files == CheckerFiles("hf://acme/decent", folder, folder, None, (1,))


@pytest.mark.parametrize(
    ("labels", "unsafe"),
    [
        (["sfw", "nsfw"], (1,)),
        (["drawings", "hentai", "neutral", "porn", "sexy"], (1, 3, 4)),
        (["Non-Violence", "Violence"], (1,)),
        (["Not NSFW", "Explicit Content"], (1,)),
        (["safe", "unsafe"], (1,)),
    ],
)
def test_labels_show_which_pictures_are_blocked(
    model: Path, labels: list[str], unsafe: tuple[int, ...]
) -> None:
    folder = classifier(model, {str(place): label for place, label in enumerate(labels)})
    files = find_checker(model, None, ("x", folder))
    assert files is not None
    assert files.unsafe_labels == unsafe


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"id2label": {"0": "cat", "1": "dog"}}, r"\(cat, dog\) don't show which of them block"),
        ({"id2label": {"0": "nsfw"}}, "rename them in the id2label"),
        ({"id2label": None}, "rename them in the id2label"),
        ({"architectures": ["CLIPModel"]}, "has the class CLIPModel; served are"),
        ({"architectures": None}, "has the class None; served are"),
        ({"auto_map": {"AutoConfig": "code.Config"}}, "which is never run"),
    ],
)
def test_classifier_that_cannot_judge_is_refused(
    model: Path, config: dict[str, Any], words: str
) -> None:
    folder = classifier(model, **config)
    with pytest.raises(ModelLoadFailed, match=words):
        find_checker(model, None, ("hf://acme/decent", folder))


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("model.safetensors", "has no model.safetensors .* pickles could run code"),
        ("config.json", "has no readable config.json"),
        ("preprocessor_config.json", "has no readable preprocessor_config.json"),
    ],
)
def test_classifier_with_a_missing_file_is_refused(model: Path, missing: str, words: str) -> None:
    folder = classifier(model)
    (folder / missing).unlink()
    with pytest.raises(ModelLoadFailed, match=words):
        find_checker(model, None, ("hf://acme/decent", folder))
