"""Checks of a model's directory without torch, so that a refusal is quick and clear."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from diffusion_serving.observability.startup_errors import ModelLoadFailed

WEIGHTS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
"""The parts of SD 1.x that have weights, and the names of their files without the ending."""

WEIGHTS_XL = {**WEIGHTS, "text_encoder_2": "model"}

_XL = "StableDiffusionXLPipeline"
_PARTS = {
    "StableDiffusionPipeline": (WEIGHTS, ("tokenizer", "scheduler")),
    _XL: (WEIGHTS_XL, ("tokenizer", "tokenizer_2", "scheduler")),
}
"""Parts of each pipeline class: those with weights, and those without."""

PIPELINE_CLASSES = tuple(_PARTS)

_REMOTE = re.compile(r"(?P<scheme>hf|s3|gs):/+(?P<rest>.*)")

_CLASSES = {
    "text_encoder": ("transformers", {"CLIPTextModel"}),
    "text_encoder_2": ("transformers", {"CLIPTextModelWithProjection"}),
    "unet": ("diffusers", {"UNet2DConditionModel"}),
    "vae": ("diffusers", {"AutoencoderKL", "AutoencoderTiny", "AsymmetricAutoencoderKL"}),
}
_LIBRARIES = ("diffusers", "transformers")
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_LFS_POINTER = b"version https://git-lfs"
_CONVERT = (
    "Convert them once with StableDiffusionPipeline.from_pretrained(…).save_pretrained(…), which "
    "writes safetensors"
)


@dataclass(frozen=True)
class ModelFiles:
    """A directory that can be loaded. `variant` is `fp16` if it has only such weights.

    `classes` has the library and the class of each part that has weights.
    """

    path: Path
    pipeline: str
    """The diffusers class, one of `PIPELINE_CLASSES`."""
    variant: str | None
    classes: Mapping[str, tuple[str, str]]
    scheduler: str
    """The class of the model's own scheduler, as the index names it."""

    @property
    def xl(self) -> bool:
        """Whether the model is SDXL, with two text encoders."""
        return self.pipeline == _XL


def inspect(path: Path) -> ModelFiles:
    """Checks that the directory holds a whole Stable Diffusion pipeline, 1.x or XL.

    Only the headers of the weights are read.

    Raises:
        ModelLoadFailed: a file is missing, wrong or damaged; the message names it and the remedy.

    """
    if not path.is_dir():
        raise ModelLoadFailed(_no_directory(path))
    index = _index(path)
    pipeline = str(index["_class_name"])
    weights, others = _PARTS[pipeline]
    parts = {part: _class_of(path, part, index) for part in (*weights, *others)}
    classes = {part: parts[part] for part in weights}
    variant = _variant(path, weights)
    for part, stem in weights.items():
        for file in weight_files(path / part, stem, variant):
            check_safetensors(file)
    return ModelFiles(path, pipeline, variant, classes, parts["scheduler"][1])


def _no_directory(path: Path) -> str:
    """Returns the cause why there is no directory at the path, and the remedy."""
    if path.is_file():
        return (
            f"The model {path} is one file. Give the directory of a diffusers pipeline, as "
            "save_pretrained writes it; StableDiffusionPipeline.from_single_file(…) reads a "
            "checkpoint once, to be saved so."
        )
    if match := _REMOTE.match(str(path)):  # as a path, which keeps one of two slashes
        source = f"{match['scheme']}://{match['rest']}"
        return (
            f"The server reads a directory, and {source} is a remote source. Fetch it first: "
            f"python -m diffusion_serving.fetch --source {source} --to DIRECTORY."
        )
    return (
        f"The model's directory {path} does not exist. Check model.path, and that its volume is "
        "mounted there. A repository of a hub is fetched first, as hf://org/repo, by python -m "
        "diffusion_serving.fetch."
    )


def find_lora(name: str, path: Path) -> Path:
    """Returns the LoRA's file: `path` itself, or the only safetensors file in it.

    Raises:
        ModelLoadFailed: the file is missing, or is no whole safetensors file.

    """
    candidates = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    match [file for file in candidates if file.is_file()]:
        case [file] if file.suffix == ".safetensors":
            check_safetensors(file)
            return file
        case [_, _, *_]:
            names = ", ".join(file.name for file in candidates)
            raise ModelLoadFailed(
                f"The LoRA {name}'s directory {path} holds several files ({names}): name one."
            )
        case _:
            raise ModelLoadFailed(
                f"The LoRA {name} has no safetensors file at {path}. Check its path; weights as a "
                "pickle are refused."
            )


def _index(path: Path) -> dict[str, object]:
    file = path / "model_index.json"
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelLoadFailed(
            f"{path} has no model_index.json, so it is no diffusers pipeline. Give the directory "
            "that save_pretrained wrote, not a single checkpoint or a part of it."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelLoadFailed(f"{file} cannot be read as JSON: {error}. Copy it again.") from None
    checked = index if isinstance(index, dict) else {}
    check_class(str(file), checked)
    return dict(checked)


def check_class(where: str, index: Mapping[str, object]) -> None:
    """Checks that a pipeline of the class that an index names is served.

    Raises:
        ModelLoadFailed: it is not.

    """
    name = index.get("_class_name")
    if name not in PIPELINE_CLASSES:
        raise ModelLoadFailed(
            f"{where} names the pipeline class {name!r}; served are {', '.join(PIPELINE_CLASSES)}."
        )


def _class_of(path: Path, part: str, index: dict[str, object]) -> tuple[str, str]:
    match index.get(part):
        case [str(library), str(name)] if library in _LIBRARIES:
            pass
        case other:
            raise ModelLoadFailed(
                f"{path / 'model_index.json'} names {other!r} as the {part}; only classes of "
                f"{' and '.join(_LIBRARIES)} are loaded, never code that comes with a model."
            )
    if part in _CLASSES:
        its_library, names = _CLASSES[part]
        if library != its_library or name not in names:
            raise ModelLoadFailed(
                f"{path / 'model_index.json'} names the class {name} as the {part}; a "
                f"{index['_class_name']} has {' or '.join(sorted(names))} there."
            )
    if not (path / part).is_dir():
        raise ModelLoadFailed(f"{path} has no directory {part}. Copy the whole pipeline.")
    return library, name


def _variant(path: Path, weights: Mapping[str, str]) -> str | None:
    """None for weights of the usual names, else the variant that all parts have."""
    for variant in (None, "fp16"):
        if all(weight_files(path / part, stem, variant) for part, stem in weights.items()):
            return variant
    part, stem = next(
        (part, stem) for part, stem in weights.items() if not weight_files(path / part, stem, None)
    )
    if any(file.suffix in _PICKLES for file in (path / part).iterdir()):
        raise ModelLoadFailed(
            f"{path / part} has its weights only as a pickle, which could run code when it is "
            f"loaded and is refused. {_CONVERT}."
        )
    raise ModelLoadFailed(
        f"{path / part} has no {stem}.safetensors. Copy the whole pipeline, weights included."
    )


def weight_files(folder: Path, stem: str, variant: str | None) -> list[Path]:
    """Returns the weight files of a part: one, or several shards."""
    name = f"{stem}.{variant}" if variant else stem
    whole = folder / f"{name}.safetensors"
    return [whole] if whole.exists() else sorted(folder.glob(f"{name}-*-of-*.safetensors"))


def check_safetensors(file: Path) -> None:
    """Checks that a file is whole; only its header is read.

    Raises:
        ModelLoadFailed: it is not.

    """
    try:
        with file.open("rb") as opened:
            pointer = opened.read(len(_LFS_POINTER)) == _LFS_POINTER
        if not pointer:
            # Opening compares the header with the file's length, so it detects a truncated copy.
            with safe_open(file, framework="numpy"):
                return
    except PermissionError:
        raise ModelLoadFailed(
            f"{file} is not readable by this process: change its permissions (chmod a+r)."
        ) from None
    except (SafetensorError, OSError) as error:
        raise ModelLoadFailed(
            f"{file} is not a whole safetensors file ({error}). Copy or download it again."
        ) from None
    raise ModelLoadFailed(
        f"{file} is only Git LFS's pointer to the weights. Run `git lfs pull` where it came from."
    )
