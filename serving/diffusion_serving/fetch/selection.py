"""The selection of a source's files: safetensors and configuration, never a pickle."""

import json
import re
from collections.abc import Callable, Iterable, Sequence

from diffusion_serving.fetch.model_files import check_class
from diffusion_serving.fetch.remote import RemoteFile
from diffusion_serving.observability.startup_errors import ModelLoadFailed

INDEX = "model_index.json"
CONFIG = "config.json"
PREPARATION = "preprocessor_config.json"
"""The preparation of a safety checker's images, by which its directory is known from a LoRA's."""

_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_TEXTS = (".json", ".txt")
_NOT_SERVED = "image_encoder"
"""The part that diffusers knows and this program leaves out."""
_IF_SAFE = "safety_checker"
"""The part that is fetched only where it has safetensors like the others: a service whose pictures
are not checked doesn't need it."""

_WEIGHTS = re.compile(
    r"(model|diffusion_pytorch_model)(?P<variant>\.fp16)?(-\d{5}-of-\d{5})?\.safetensors"
)
_OF_A_VARIANT = re.compile(r"\.(fp16|non_ema|bf16|ema)[.-]")
_LORA = "pytorch_lora_weights.safetensors"
_LORA_PARTS = 2


def needed(files: Sequence[RemoteFile], read: Callable[[RemoteFile], bytes]) -> list[RemoteFile]:
    """Selects the files of the pipeline, the safety checker or the LoRA that the source holds.

    `read` returns the content of a small file.

    Raises:
        ModelLoadFailed: the source is none of them, or has its weights only as pickles.

    """
    by_path = {file.path: file for file in files}
    if (index := by_path.get(INDEX)) is not None:
        parts = _parts(read(index))
        return [index, *_of_parts(files, parts)]
    if PREPARATION in by_path:
        return _checker(files)
    return [_lora(files)]


def _parts(content: bytes) -> list[str]:
    """Returns the parts that a pipeline's index names, without those that are not served."""
    try:
        index = json.loads(content)
    except ValueError:
        raise ModelLoadFailed(f"The source's {INDEX} is not JSON. Upload it again.") from None
    if not isinstance(index, dict):
        raise ModelLoadFailed(f"The source's {INDEX} is no JSON object. Upload it again.")
    check_class(f"The source's {INDEX}", index)
    return [
        name
        for name, value in index.items()
        if isinstance(value, list)
        and len(value) == _LORA_PARTS
        and all(isinstance(word, str) for word in value)
        and name != _NOT_SERVED
    ]


def _of_parts(files: Iterable[RemoteFile], parts: Sequence[str]) -> list[RemoteFile]:
    """Selects the files of the parts' own directories."""
    inside: dict[str, list[RemoteFile]] = {part: [] for part in parts}
    for file in files:
        part, _, name = file.path.partition("/")
        if part in inside and name and "/" not in name:
            inside[part].append(file)
    weights = {part: _weights(files) for part, files in inside.items()}
    weighted = [
        part
        for part, files in inside.items()
        if part != _IF_SAFE and (weights[part] or _pickled(files))
    ]
    variant = next(
        (v for v in ("", ".fp16") if all(weights[part].get(v) for part in weighted)), None
    )
    if variant is None:
        raise ModelLoadFailed(_why_not(inside, weights, weighted))
    return [
        file
        for part, files_of_part in inside.items()
        if part != _IF_SAFE or weights[part].get(variant)
        for file in (*_texts(files_of_part, variant), *weights[part].get(variant, ()))
    ]


def _weights(files: Iterable[RemoteFile]) -> dict[str, list[RemoteFile]]:
    """Groups the safetensors files of a part by variant: empty for the usual ones, or `.fp16`."""
    by_variant: dict[str, list[RemoteFile]] = {}
    for file in files:
        if match := _WEIGHTS.fullmatch(file.path.rpartition("/")[2]):
            by_variant.setdefault(match["variant"] or "", []).append(file)
    return by_variant


def _texts(files: Iterable[RemoteFile], variant: str) -> list[RemoteFile]:
    """Selects configuration and vocabularies, without another variant's lists of shards."""
    return [
        file
        for file in files
        if file.path.endswith(_TEXTS)
        and (not _OF_A_VARIANT.search(file.path) or (variant and f"{variant}." in file.path))
    ]


def _pickled(files: Iterable[RemoteFile]) -> bool:
    return any(file.path.endswith(_PICKLES) for file in files)


def _why_not(
    inside: dict[str, list[RemoteFile]],
    weights: dict[str, dict[str, list[RemoteFile]]],
    weighted: Sequence[str],
) -> str:
    part = next(part for part in weighted if not weights[part].get(""))
    if _pickled(inside[part]) and not weights[part]:
        return (
            f"The source has the weights of its {part} only as a pickle, which could run code when "
            "it is loaded and is refused. Use a repository or revision with safetensors, or "
            "convert it once with StableDiffusionPipeline.from_pretrained(…).save_pretrained(…)."
        )
    return (
        f"The source has no whole set of safetensors weights: its {part} lacks those that other "
        "parts have. Upload the whole pipeline as save_pretrained writes it."
    )


def _checker(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Selects the configuration of a safety checker and its weights in one precision."""
    top = [file for file in files if "/" not in file.path]
    weights = _weights(top)
    variant = next((each for each in ("", ".fp16") if each in weights), None)
    if variant is None:
        raise ModelLoadFailed(
            "The source is a safety checker without a model.safetensors. Weights as a pickle could "
            "run code when they are loaded, and are refused: use a repository or revision with "
            "safetensors."
        )
    shards = [file for file in top if file.path.endswith(f"{variant}.safetensors.index.json")]
    texts = [file for file in top if file.path in (CONFIG, PREPARATION)]
    return [*texts, *shards, *weights[variant]]


def _lora(files: Sequence[RemoteFile]) -> RemoteFile:
    """Selects the only safetensors file at the top, or the one with diffusers' LoRA name."""
    top = [file for file in files if "/" not in file.path]
    candidates = [file for file in top if file.path.endswith(".safetensors")]
    named = [file for file in candidates if file.path == _LORA]
    match named or candidates:
        case [file]:
            return file
        case [_, *_] as several:
            names = ", ".join(file.path for file in several[:8])
            raise ModelLoadFailed(
                f"The source has no {INDEX} and several safetensors files ({names}). For a LoRA, "
                "end the source in the name of one."
            )
        case _ if _pickled(top):
            raise ModelLoadFailed(
                f"The source has no {INDEX} and its weights only as a pickle, which could run code "
                "when it is loaded and is refused. Use one with safetensors."
            )
        case _:
            raise ModelLoadFailed(
                f"The source has neither a {INDEX} nor a safetensors file, so it is neither a "
                "diffusers pipeline nor a LoRA. Name the directory that save_pretrained wrote."
            )
