"""Checks of a safety checker's directory without torch, and the choice of the checker."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diffusion_serving.fetch.model_files import check_safetensors, weight_files
from diffusion_serving.fetch.selection import CONFIG, PREPARATION
from diffusion_serving.observability.startup_errors import ModelLoadFailed

log = logging.getLogger("diffusion_serving")

CHECKER, EXTRACTOR = "safety_checker", "feature_extractor"
"""The directories of a model's own checker, and of its images' preparation."""
WEIGHTS = "model"
"""The name of the weights' files without the ending."""

_CONCEPTS = "StableDiffusionSafetyChecker"
_PROCESSORS = {
    "CLIPFeatureExtractor",
    "CLIPImageProcessor",
    "CLIPImageProcessorFast",
    "CLIPImageProcessorPil",
}
"""Names that transformers has given CLIP's preparation of images."""
_OWN = {
    CHECKER: ("stable_diffusion", {_CONCEPTS}),
    EXTRACTOR: ("transformers", _PROCESSORS),
}
_CLASSIFIER = "ForImageClassification"
_UNSAFE = frozenset({"nsfw", "unsafe", "explicit", "sexual", "sexy", "nude", "nudity", "hentai"})
_UNSAFE |= {"porn", "pornography", "pornographic", "gore", "bloody", "violence", "violent"}
_NEGATIONS = frozenset({"not", "non", "no"})


@dataclass(frozen=True)
class CheckerFiles:
    """A checker that can be loaded."""

    name: str
    """`Model` for the model's own, else its source."""
    weights: Path
    """The directory with the weights and their configuration."""
    preparation: Path
    """The directory with the preparation of images."""
    variant: str | None
    """`fp16` if there are only such weights."""
    unsafe_labels: tuple[int, ...] | None
    """A classifier's labels that block a picture; None for Stable Diffusion's own checker."""


def find_checker(
    model: Path, choice: Literal["None", "Model"] | None, source: tuple[str, Path] | None = None
) -> CheckerFiles | None:
    """Returns the files of the checker that a service is to have; None if it is to have none.

    Args:
        model: the model's directory, checked by `inspect`.
        choice: the configured choice; None is the model's own checker where it has one.
        source: name and directory of a checker beside the model, which goes first.

    Raises:
        ModelLoadFailed: the chosen checker cannot be loaded; the message names the remedy.

    """
    if source is not None:
        name, path = source
        return _inspect(name, path, path)
    if choice == "None":
        return None
    if (why := _why_no_own(model)) is None:
        return _inspect("Model", model / CHECKER, model / EXTRACTOR)
    if choice == "Model":
        raise ModelLoadFailed(
            f"safety.checker is Model, but {why} Name another checker as safety.checker, such as "
            "an image classifier of the Hugging Face Hub, or None."
        )
    if _index(model).get(CHECKER) not in (None, [None, None]):
        log.warning("the pictures are not checked", extra={"reason": why})
    return None


def _why_no_own(model: Path) -> str | None:
    """Returns why the model has no checker of its own; None if it has one."""
    index = _index(model)
    for part, (library, names) in _OWN.items():
        match index.get(part):
            case [str(its_library), str(name)] if its_library == library and name in names:
                pass
            case None | [None, None]:
                return f"the model_index.json of {model} names no {part}."
            case other:
                return (
                    f"{model / 'model_index.json'} names {other!r} as the {part}; only "
                    f"{' or '.join(sorted(names))} of {library} is loaded, never code that comes "
                    "with a model."
                )
    if not any(weight_files(model / CHECKER, WEIGHTS, variant) for variant in (None, "fp16")):
        return (
            f"{model / CHECKER} has no {WEIGHTS}.safetensors: a pickle is refused, and a model "
            "that an earlier release fetched came without its checker. Copy the checker in "
            "safetensors, or remove the fetched model, which is then fetched again."
        )
    if not (model / EXTRACTOR / PREPARATION).is_file():
        return f"{model / EXTRACTOR} has no {PREPARATION}. Copy the whole pipeline."
    return None


def _index(model: Path) -> Mapping[str, Any]:
    index = json.loads((model / "model_index.json").read_text(encoding="utf-8"))
    return index if isinstance(index, dict) else {}


def _inspect(name: str, weights: Path, preparation: Path) -> CheckerFiles:
    """Checks the headers of the weights, and that the class is one that is served."""
    config = _json(weights / CONFIG, name)
    _json(preparation / PREPARATION, name)
    variant = next(
        (each for each in (None, "fp16") if weight_files(weights, WEIGHTS, each)), "absent"
    )
    if variant == "absent":
        raise ModelLoadFailed(
            f"The safety checker {name} has no {WEIGHTS}.safetensors in {weights}. Use one whose "
            "weights are safetensors; pickles could run code when they are loaded, and are refused."
        )
    for file in weight_files(weights, WEIGHTS, variant):
        check_safetensors(file)
    return CheckerFiles(name, weights, preparation, variant, _labels(name, config))


def _json(file: Path, name: str) -> Mapping[str, Any]:
    """Reads a configuration, which must not name code of its own."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadFailed(
            f"The safety checker {name} has no readable {file.name} ({error}). Copy its whole "
            "directory, as save_pretrained writes it."
        ) from None
    if not isinstance(document, dict) or "auto_map" in document:
        raise ModelLoadFailed(
            f"{file} names code that comes with the safety checker {name}, which is never run. Use "
            "a checker that transformers knows by itself."
        )
    return document


def _labels(name: str, config: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Returns the labels of a classifier that block a picture; None for the other kind."""
    classes = [str(each) for each in config.get("architectures") or ()]
    if classes == [_CONCEPTS]:
        return None
    if not any(each.endswith(_CLASSIFIER) for each in classes):
        raise ModelLoadFailed(
            f"The safety checker {name} has the class {', '.join(classes) or 'None'}; served are "
            f"{_CONCEPTS} and transformers' image classifiers (…{_CLASSIFIER})."
        )
    labels = config.get("id2label")
    labels = labels if isinstance(labels, dict) else {}
    unsafe = tuple(int(place) for place, label in labels.items() if _is_unsafe(str(label)))
    if not 0 < len(unsafe) < len(labels):
        raise ModelLoadFailed(
            f"The labels of the safety checker {name} ({', '.join(map(str, labels.values()))}) "
            "don't show which of them block a picture: rename them in the id2label of its "
            "config.json, to safe and unsafe."
        )
    return unsafe


def _is_unsafe(label: str) -> bool:
    """Returns whether a label's words name what a picture must not show."""
    words = set(re.findall(r"[a-z]+", label.lower()))
    return bool(words & _UNSAFE) and not words & _NEGATIONS
