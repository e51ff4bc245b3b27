"""Loads a checked directory as a pipeline on its device."""

import os
from typing import Any

import diffusers
import torch
import transformers

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.cpu_cores import available_cores
from diffusion_serving.fetch.checker_files import find_checker
from diffusion_serving.fetch.model_files import ModelFiles
from diffusion_serving.observability.startup_errors import (
    ModelLoadFailed,
    StartupError,
    WrongDevice,
)
from diffusion_serving.pipeline.checking import load_checker
from diffusion_serving.pipeline.loras import Loras
from diffusion_serving.pipeline.model import DiffusersPipeline
from diffusion_serving.pipeline.prompts import EmbeddingCache, PromptEncoder
from diffusion_serving.pipeline.schedulers import read_scheduler, require_understood
from diffusion_serving.pipeline.tuning import attention, batch_sizes, check_compiler, tune


def load_pipeline(
    files: ModelFiles, config: ServingConfig, device_index: int = 0
) -> DiffusersPipeline:
    """Loads the model, its LoRAs and its safety checker onto the device.

    Args:
        files: the result of `model_files.inspect`.
        config: the configuration of the service.
        device_index: the index of a GPU among several; a CPU is one device.

    Raises:
        WrongDevice: the configured device is not there, or the model is on another one.
        ModelLoadFailed: the files are no model that diffusers can load, or an option is none that
            it can run with.

    """
    quieten()
    device = _device(config, device_index)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(available_cores())
    context = attention(config.attention)
    check_compiler(config)  # before the weights, which take minutes
    own = read_scheduler(files.path / "scheduler", files.scheduler)
    require_understood(config.generation.scheduler, own, config.generation.steps)
    checker = find_checker(files.path, *config.safety.choice)
    try:
        pipe = _from_pretrained(files, getattr(torch, config.precision), own)
        pipe.set_progress_bar_config(disable=True)
        loras = Loras(pipe, config.model.loras)
        pipe.to(device)
        tune(pipe, config)
        checks = load_checker(checker, device, pipe.dtype) if checker else None
    except (StartupError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ModelLoadFailed(
            f"diffusers cannot load {files.path} ({type(error).__name__}: {error}). Check that its "
            "configuration and weights belong together."
        ) from error
    _require_device(pipe, device)
    return DiffusersPipeline(
        pipe,
        config.generation.scheduler,
        prompts=PromptEncoder(pipe, f"{files.path} {config.precision}", EmbeddingCache()),
        loras=loras,
        attention=context,
        batch_sizes=batch_sizes(config),
        fill=config.compile != "none",
        checker=checks,
    )


def _device(config: ServingConfig, index: int) -> torch.device:
    if config.device == "cpu":
        return torch.device("cpu")
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not seen:
        raise WrongDevice(
            "The service asks for the device cuda, but this process sees no CUDA device. Give the "
            "pod a GPU and its node a driver, or set the device to cpu. "
            f"torch says: {_reason_of_torch()}"
        )
    if index >= seen:
        raise WrongDevice(
            f"The service asks for {config.devices} CUDA devices, but this process sees {seen}. "
            "Give the pod as many GPUs as devices says."
        )
    return torch.device("cuda", index)


def _reason_of_torch() -> str:
    """The reason for which torch starts no CUDA, such as a driver that is absent or too old."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call] # torch has no annotation for it
    except (RuntimeError, AssertionError) as error:
        return str(error)
    return f"no device, with CUDA {torch.version.cuda}"


def _from_pretrained(files: ModelFiles, dtype: torch.dtype, scheduler: Any) -> Any:
    """Loads the parts, since only they report missing tensors, and then the pipeline."""
    options: dict[str, Any] = {
        "variant": files.variant,
        "use_safetensors": True,
        "local_files_only": True,
    }
    parts: dict[str, Any] = {"scheduler": scheduler}
    for part, (library, name) in files.classes.items():
        kind: Any = getattr(diffusers if library == "diffusers" else transformers, name)
        folder = files.path / part
        # Without a dtype, half-precision files load as a mix of half and full, which then crashes.
        parts[part], report = kind.from_pretrained(
            folder, output_loading_info=True, dtype=dtype, **options
        )
        # diffusers would fill these with random numbers, and only log a warning.
        if missing := [*report["missing_keys"], *report["mismatched_keys"]]:
            raise ModelLoadFailed(
                f"The weights in {folder} lack {len(missing)} tensors of a {name}, or have them in "
                "another size. Check that its configuration and weights belong together."
            )
    vae = parts["vae"]
    if files.xl and dtype == torch.float16 and vae.config.force_upcast:
        vae.to(torch.float32)  # SDXL's own autoencoder overflows in half precision
    kind = getattr(diffusers, files.pipeline)
    extras: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if files.xl:
        extras["add_watermarker"] = False
    else:
        extras |= {"safety_checker": None, "requires_safety_checker": False}
    return kind.from_pretrained(files.path, dtype=dtype, **options, **parts, **extras)


def _require_device(pipe: Any, device: torch.device) -> None:
    """Requires that the model is on the device: a silent fall-back would just be slow."""
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            actual = next(part.parameters()).device
            if actual != device:
                raise WrongDevice(
                    f"The service asks for the device {device}, but the model's {name} is on "
                    f"{actual}."
                )


def quieten() -> None:
    """Turns off progress bars, and warnings that quote the truncated part of a prompt."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
