"""Options that make a model faster and leave its images as they are."""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.observability.startup_errors import ModelLoadFailed

_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "native_cudnn": SDPBackend.CUDNN_ATTENTION,
    "native_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "native_flash": SDPBackend.FLASH_ATTENTION,
    "native_math": SDPBackend.MATH,
}
"""Torch's kernels by diffusers' names. Diffusers' own switch does nothing to a U-Net's attention,
which calls torch's `scaled_dot_product_attention`; so torch gets the kernel to use."""

_SPECIALISATIONS = 256
"""Compiled forms of one piece of code: batch sizes, image sizes, with each LoRA and without. Past
this limit torch would silently run uncompiled code."""


def batch_sizes(config: ServingConfig) -> Sequence[int]:
    """Returns the batch sizes to warm up: powers of two, and the largest allowed.

    Compilation takes its time for each size, and a GPU shows the limit of its memory. Without
    compilation a CPU has none: the first batch of a size takes no longer than the next, and a large
    one may take minutes.
    """
    if config.compile == "none" and config.device == "cpu":
        return ()
    largest = config.batching.usual_size
    powers = (2**exponent for exponent in range(largest.bit_length()))
    return sorted({*powers, largest})


def tune(pipe: Any, config: ServingConfig) -> None:
    """Applies the memory format, xformers, and compilation. LoRAs must be loaded before.

    Raises:
        ModelLoadFailed: xformers is configured and cannot be used.

    """
    if config.channels_last:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    if config.attention == "xformers":
        try:
            pipe.enable_xformers_memory_efficient_attention()
        except Exception as error:
            raise ModelLoadFailed(
                f"The attention backend xformers cannot be used ({error}). Install it in the "
                "image, or set attention to default."
            ) from error
    if config.compile == "none":
        return
    torch._dynamo.config.recompile_limit = _SPECIALISATIONS  # noqa: SLF001 - documented there
    torch._dynamo.config.accumulated_recompile_limit = 8 * _SPECIALISATIONS  # noqa: SLF001
    # Each shape is compiled alone, which is fastest; the shapes are few and warmed up.
    if config.compile == "regional":
        pipe.unet.compile_repeated_blocks(dynamic=False)
    else:
        pipe.unet.compile(dynamic=False)
        pipe.vae.decoder.compile(dynamic=False)


def check_compiler(config: ServingConfig) -> None:
    """Requires the C or C++ compiler that torch needs to compile a model.

    Raises:
        ModelLoadFailed: the model is to be compiled, and there is none.

    """
    if config.compile == "none":
        return
    if config.device == "cpu":
        language, known = "C++", [os.environ.get("CXX"), "g++"]
    else:
        language, known = "C", [os.environ.get("CC"), "gcc", "clang"]
    if not any(shutil.which(name) for name in known if name):
        raise ModelLoadFailed(
            f"compile is {config.compile}, and torch needs a {language} compiler for that, of "
            f"which there is none here. Serve from an image that has {known[1]} as well, or set "
            "compile to none."
        )


def attention(name: str) -> Callable[[], AbstractContextManager[None]]:
    """Returns the context in which the model uses this kind of attention.

    Raises:
        ModelLoadFailed: a U-Net has no attention of that name.

    """
    name = name.removeprefix("_")
    if name in ("default", "native", "xformers"):
        return contextlib.nullcontext
    if name not in _KERNELS:
        known = ", ".join(["default", "native", *_KERNELS, "xformers"])
        raise ModelLoadFailed(
            f"The attention backend {name} is none that a Stable Diffusion U-Net can use. "
            f"There are: {known}."
        )
    return lambda: sdpa_kernel(_KERNELS[name])
