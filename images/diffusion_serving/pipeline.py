"""The diffusers pipeline behind the engine. The one module that imports torch."""

import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import diffusers
import torch
import transformers

from diffusion_serving.config import Scheduler, ServingConfig
from diffusion_serving.cores import available_cores
from diffusion_serving.errors import ModelLoadFailed, WrongDevice
from diffusion_serving.generation import BatchOutput, Generation, OnStep, Picture
from diffusion_serving.model_files import ModelFiles

log = logging.getLogger(__name__)

_SCHEDULERS: Mapping[Scheduler, tuple[type[Any], Mapping[str, object]]] = {
    "ddim": (diffusers.DDIMScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "dpm++2m": (
        diffusers.DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2},
    ),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {}),
}

_LCM_TRAINING_STEPS = 50


class NotFiniteError(RuntimeError):
    """The model computed infinities or NaNs."""


def make_scheduler(name: Scheduler, config: Mapping[str, Any], steps: int) -> Any:
    """The scheduler of that name for a model's own scheduler configuration.

    Each makes exactly one call of the U-Net per step, unlike PNDM, which SD 1.x models bring.
    A fresh one for each batch starts from nothing that an earlier, perhaps failed, batch left.
    """
    kind, pinned = _SCHEDULERS[name]
    settings = dict(pinned)
    if "clip_sample" not in config:
        settings["clip_sample"] = False  # the classes' default is for pixels, not for latents
    if name == "lcm":
        # It picks its steps out of those it was distilled to, and refuses more than there are.
        trained = int(config.get("original_inference_steps", _LCM_TRAINING_STEPS))
        settings["original_inference_steps"] = max(trained, steps)
    accepted = set(kind._get_init_keys(kind))  # noqa: SLF001 - as from_config itself does
    return kind.from_config(
        dict(config), **{key: value for key, value in settings.items() if key in accepted}
    )


def load_pipeline(
    files: ModelFiles, config: ServingConfig, device_index: int = 0
) -> "DiffusersPipeline":
    """Loads the model onto the device.

    Raises:
        WrongDevice: cuda was asked for, and none is there.
        ModelLoadFailed: the files are no model that diffusers can load.

    """
    _quieten()
    device = config.device
    if device == "cuda" and not torch.cuda.is_available():
        raise WrongDevice(
            "The service asks for the device cuda, but this process sees no CUDA device. Give the "
            "pod a GPU and its node a driver, or set the device to cpu."
        )
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(available_cores())
    try:
        pipe = _from_pretrained(files, getattr(torch, config.precision))
    except ModelLoadFailed:
        raise
    except Exception as error:
        raise ModelLoadFailed(
            f"diffusers cannot load {files.path} ({type(error).__name__}: {error}). Check that its "
            "configuration and weights belong together."
        ) from error
    pipe.set_progress_bar_config(disable=True)
    pipe.to(f"cuda:{device_index}" if device == "cuda" else device)
    return DiffusersPipeline(pipe, config.generation.scheduler)


def _from_pretrained(files: ModelFiles, dtype: torch.dtype) -> Any:
    """The pipeline, with its parts loaded first because only they tell of missing tensors."""
    options: dict[str, Any] = {
        # Without it, half-precision files load as a mix of half and full, which then crashes.
        "dtype": dtype,
        "variant": files.variant,
        "use_safetensors": True,
        "local_files_only": True,
    }
    parts: dict[str, Any] = {}
    for part, (library, name) in files.classes.items():
        kind: Any = getattr(diffusers if library == "diffusers" else transformers, name)
        folder = files.path / part
        parts[part], found = kind.from_pretrained(folder, output_loading_info=True, **options)
        # These would be filled with random numbers and a warning that nobody reads.
        if missing := [*found["missing_keys"], *found["mismatched_keys"]]:
            raise ModelLoadFailed(
                f"The weights in {folder} lack {len(missing)} tensors of a {name}, or have them in "
                "another size. Check that its configuration and weights belong together."
            )
    pipeline: Any = diffusers.StableDiffusionPipeline
    return pipeline.from_pretrained(
        files.path,
        **options,
        **parts,
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


def _quieten() -> None:
    """No progress bars in the log, and no warnings that quote the part of a prompt cut off."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


class DiffusersPipeline:
    """A `generation.Pipeline` over diffusers' own. Not to be shared by threads."""

    def __init__(self, pipe: Any, scheduler: Scheduler) -> None:
        self._pipe = pipe
        self._scheduler = scheduler
        self._scheduler_config = dict(pipe.scheduler.config)

    @property
    def device(self) -> str:
        return str(self._pipe.device.type)

    @property
    def device_name(self) -> str:
        if self.device == "cuda":
            return str(torch.cuda.get_device_name(self._pipe.device))
        return platform.processor() or platform.machine()

    @property
    def dtype(self) -> str:
        return str(self._pipe.unet.dtype).removeprefix("torch.")

    @property
    def native_size(self) -> tuple[int, int]:
        size = self._pipe.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        factor = self._pipe.vae_scale_factor
        return width * factor, height * factor

    @property
    def batch_sizes(self) -> Sequence[int]:
        return ()

    @property
    def device_memory_bytes(self) -> int | None:
        if self.device != "cuda":
            return None
        return torch.cuda.memory_reserved(self._pipe.device)

    @torch.inference_mode()
    def __call__(self, batch: Sequence[Generation], on_step: OnStep | None = None) -> BatchOutput:
        """Makes the images of generations that share one batch key.

        Raises:
            ValueError: they do not share it.
            NotFiniteError: the precision is too low for the model.

        """
        key = batch[0].key
        if any(generation.key != key for generation in batch):
            raise ValueError("a batch shares one batch key")
        pipe = self._pipe
        pipe.scheduler = make_scheduler(self._scheduler, self._scheduler_config, key.steps)
        begin = self._now()
        prompts, negative_prompts = self._encode(batch)
        encoded = self._now()
        latents = pipe(
            prompt_embeds=prompts,
            negative_prompt_embeds=negative_prompts,
            num_inference_steps=key.steps,
            guidance_scale=key.guidance_scale,
            width=key.width,
            height=key.height,
            generator=_generators(batch),
            output_type="latent",
            callback_on_step_end=_step_teller(on_step, key.steps),
        ).images
        denoised = self._now()
        pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
        pictures = iter(_pictures(pixels))
        decoded = self._now()
        return BatchOutput(
            pictures=[[next(pictures) for _ in generation.seeds] for generation in batch],
            seconds={
                "text_encoder": encoded - begin,
                "denoise": denoised - encoded,
                "vae": decoded - denoised,
            },
        )

    def _encode(self, batch: Sequence[Generation]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embeddings of the prompts and, with guidance, of the negative ones: one an image."""
        guided = batch[0].guidance_scale > 1 and self._pipe.unet.config.time_cond_proj_dim is None
        prompts, negative_prompts = self._pipe.encode_prompt(
            [g.prompt for g in batch for _ in g.seeds],
            self._pipe.device,
            1,
            guided,
            [g.negative_prompt for g in batch for _ in g.seeds],
        )
        return prompts, negative_prompts

    def _now(self) -> float:
        """The time at which all that was asked of the device is done."""
        if self.device == "cuda":
            torch.cuda.synchronize(self._pipe.device)
        return time.monotonic()


def _step_teller(on_step: OnStep | None, steps: int) -> Callable[..., dict[str, Any]] | None:
    """What diffusers calls at the end of a step."""
    if on_step is None:
        return None

    def tell(_: Any, step: int, __: Any, ___: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, steps)
        return {}

    return tell


def _generators(batch: Sequence[Generation]) -> list[torch.Generator]:
    """One generator an image, so that an image does not depend on what it shares a batch with.

    On the CPU for every device, so that a seed means the same on all of them.
    """
    return [
        torch.Generator().manual_seed(seed) for generation in batch for seed in generation.seeds
    ]


def _pictures(pixels: torch.Tensor) -> list[Picture]:
    """Pictures from a batch of (3, height, width) values of -1 to 1."""
    if not bool(torch.isfinite(pixels).all()):
        raise NotFiniteError("the model computed values that are not finite; use bfloat16")
    scaled = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    rows = scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return [Picture(image.shape[1], image.shape[0], image.tobytes()) for image in rows]
