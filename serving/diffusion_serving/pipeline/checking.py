"""The safety checkers: Stable Diffusion's own, and image classifiers."""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import transformers
from diffusers.pipelines.stable_diffusion import safety_checker
from PIL import Image

from diffusion_serving.engine.pipeline_interface import NotFiniteError, Picture
from diffusion_serving.fetch.checker_files import CheckerFiles
from diffusion_serving.observability.startup_errors import ModelLoadFailed, StartupError
from diffusion_serving.pipeline.failures import device_probe, guarded

_Judge = Callable[[torch.Tensor], list[bool]]
"""Returns whether each of (images, 3, height, width) prepared images is blocked."""
_MOST = 0.5
"""The probability of all unsafe labels together above which a picture is blocked."""


class LoadedChecker:
    """The engine's `Checker` over a loaded model, for one thread at a time.

    On a GPU it works on a stream of its own, so that it doesn't wait for the pipeline's steps.

    Args:
        name: the name in /about.
        prepare: transformers' processor, which turns images into the model's input.
        judge: the model.
        device: the device of the model.
        dtype: the precision of the model.

    """

    def __init__(
        self, name: str, prepare: Any, judge: _Judge, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.name = name
        self._prepare = prepare
        self._judge = judge
        self._device = device
        self._dtype = dtype
        self._probe = device_probe(device)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call] # torch has no annotation for it

    def __call__(self, pictures: Sequence[Picture]) -> list[bool]:
        """Returns whether each picture is blocked.

        Raises:
            NotFiniteError: the precision is too low for the checker, so there is no verdict.
            OutOfMemory: the device's memory does not hold so many pictures at once.
            DeviceLost: the device failed.

        """
        return guarded(lambda: self._blocked(pictures), self._probe)

    @torch.inference_mode()
    def _blocked(self, pictures: Sequence[Picture]) -> list[bool]:
        images = [
            Image.frombytes("RGB", (picture.width, picture.height), picture.rgb)
            for picture in pictures
        ]
        prepared = self._prepare(images=images, return_tensors="pt")["pixel_values"]
        with self._own_stream():
            return self._judge(prepared.to(self._device, self._dtype))

    def _own_stream(self) -> AbstractContextManager[Any]:
        if self._stream is None:
            return contextlib.nullcontext()
        return torch.cuda.stream(self._stream)


def load_checker(files: CheckerFiles, device: torch.device, dtype: torch.dtype) -> LoadedChecker:
    """Loads a checker onto the device.

    Raises:
        ModelLoadFailed: the files are no checker that transformers can load.

    """
    try:
        processor: Any = transformers.AutoImageProcessor  # carries no annotations
        prepare = processor.from_pretrained(
            files.preparation, local_files_only=True, trust_remote_code=False
        )
        judge = _judge(files, device, dtype)
    except (StartupError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ModelLoadFailed(
            f"transformers cannot load the safety checker {files.name} "
            f"({type(error).__name__}: {error}). Check that its configuration and weights belong "
            "together, or set another one as safety.checker."
        ) from error
    return LoadedChecker(files.name, prepare, judge, device, dtype)


def _judge(files: CheckerFiles, device: torch.device, dtype: torch.dtype) -> _Judge:
    kind: Any = (
        safety_checker.StableDiffusionSafetyChecker
        if files.unsafe_labels is None
        else transformers.AutoModelForImageClassification
    )
    model, report = kind.from_pretrained(
        files.weights,
        variant=files.variant,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **({} if files.unsafe_labels is None else {"trust_remote_code": False}),
    )
    if missing := [*report["missing_keys"], *report["mismatched_keys"]]:
        raise ModelLoadFailed(
            f"The weights in {files.weights} lack {len(missing)} tensors of the safety checker "
            f"{files.name}. Copy it again."
        )
    model.to(device).eval()
    return _by_concepts(model) if files.unsafe_labels is None else _by_labels(model, files)


def _by_concepts(model: Any) -> _Judge:
    """Returns the verdicts of Stable Diffusion's own checker: by an image's nearness to concepts.

    Rombach et al.'s weights hold the concepts as embeddings, each with the nearness that blocks.
    """
    # A comparison with NaN would let the picture pass.
    model.visual_projection.register_forward_hook(lambda _, __, result: _require_finite(result))

    def judge(prepared: torch.Tensor) -> list[bool]:
        # The model blackens the images that it is given, so it gets none of the real ones.
        decoys = list(torch.zeros(len(prepared), 1))
        _, blocked = model(clip_input=prepared, images=decoys)
        return [bool(each) for each in blocked]

    return judge


def _by_labels(model: Any, files: CheckerFiles) -> _Judge:
    """Returns the verdicts of an image classifier: by the probability of its unsafe labels."""
    unsafe = list(files.unsafe_labels or ())

    def judge(prepared: torch.Tensor) -> list[bool]:
        logits = model(pixel_values=prepared).logits
        _require_finite(logits)
        probabilities = logits.float().softmax(dim=-1)[:, unsafe].sum(dim=-1)
        return [bool(each > _MOST) for each in probabilities.cpu()]

    return judge


def _require_finite(values: torch.Tensor) -> None:
    if not torch.isfinite(values).all():
        raise NotFiniteError("The safety checker computed them: set precision to float32.")
