"""The pipeline of a loaded Stable Diffusion model, 1.x or XL."""

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from diffusion_serving.documents.serving_config import Scheduler
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, OnStep
from diffusion_serving.observability.metrics import DeviceUse
from diffusion_serving.observability.nvml import meter_of
from diffusion_serving.pipeline.checking import LoadedChecker
from diffusion_serving.pipeline.decoding import Decoder
from diffusion_serving.pipeline.failures import device_probe, guarded
from diffusion_serving.pipeline.loras import Loras
from diffusion_serving.pipeline.prompts import Embedding, PromptEncoder
from diffusion_serving.pipeline.schedulers import make_scheduler
from diffusion_serving.pipeline.steps import DiffusersSteps


class DiffusersPipeline:
    """The engine's `Pipeline` over diffusers' own, for one thread alone.

    Args:
        pipe: the diffusers pipeline, on its device.
        scheduler: the name of the scheduler; each batch gets a fresh instance.
        prompts: its text encoders.
        loras: its LoRAs.
        attention: returns the context in which the model runs.
        batch_sizes: the batch sizes to warm up.
        fill: whether batches are filled up to the next of these sizes, as compiled code needs.
        checker: the checker of its pictures, which its caller asks.

    """

    def __init__(
        self,
        pipe: Any,
        scheduler: Scheduler,
        *,
        prompts: PromptEncoder,
        loras: Loras,
        attention: Callable[[], AbstractContextManager[None]],
        batch_sizes: Sequence[int] = (),
        fill: bool = False,
        checker: LoadedChecker | None = None,
    ) -> None:
        self.checker = checker
        self._pipe = pipe
        self._scheduler = scheduler
        self._own_scheduler = pipe.scheduler
        self._prompts = prompts
        self._loras = loras
        self._attention = attention
        self._batch_sizes = batch_sizes
        self._fill = fill
        self._decoder = Decoder(pipe, batch_sizes if fill else ())
        self._steps = DiffusersSteps(
            pipe,
            scheduler,
            prompts=prompts,
            loras=loras,
            attention=attention,
            decoder=self._decoder,
            rows=_row_sizes(batch_sizes) if fill else (),
        )
        # Asked once: each time diffusers walks through the modules of the model.
        self._device: torch.device = pipe.device
        self._probe = device_probe(self._device)
        self._meter = meter_of(uuid_of(self._device)) if self.device == "cuda" else None

    @property
    def device(self) -> str:
        return str(self._device.type)

    @property
    def device_name(self) -> str:
        if self.device == "cuda":
            return str(torch.cuda.get_device_name(self._device))
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
    def device_use(self) -> DeviceUse | None:
        return None if self._meter is None else self._meter.use()

    @property
    def batch_sizes(self) -> Sequence[int]:
        return self._batch_sizes

    @property
    def stepwise(self) -> DiffusersSteps:
        return self._steps

    @property
    def device_memory_bytes(self) -> int | None:
        if self.device != "cuda":
            return None
        return torch.cuda.memory_reserved(self._device)

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        """Generates the images of requests that share one batch key.

        Raises:
            ValueError: the requests do not share one key.
            NotFiniteError: the precision is too low for the model.
            OutOfMemory: the device's memory does not hold so many at once.
            DeviceLost: the device failed.

        """
        if any(request.key != batch[0].key for request in batch):
            raise ValueError("a batch shares one batch key")
        return guarded(lambda: self._generate(batch, on_step), self._probe)

    @torch.inference_mode()
    def _generate(self, batch: Sequence[ImageRequest], on_step: OnStep | None) -> BatchOutput:
        key, pipe = batch[0].key, self._pipe
        pipe.scheduler = make_scheduler(self._scheduler, self._own_scheduler, key.steps)
        self._loras.use(key.lora)
        images = [(request, seed) for request in batch for seed in request.seeds]
        if self._fill:
            images += images[-1:] * (_filled(len(images), self._batch_sizes) - len(images))
        with self._attention():
            begin = self._now()
            embeddings = self._encode([request for request, _ in images])
            encoded = self._now()
            latents = pipe(
                **embeddings,
                num_inference_steps=key.steps,
                guidance_scale=key.guidance_scale,
                width=key.width,
                height=key.height,
                # A generator for each image, so that an image does not depend on the rest of its
                # batch; and on the CPU for every device, so that a seed means the same on each.
                generator=[torch.Generator().manual_seed(seed) for _, seed in images],
                output_type="latent",
                callback_on_step_end=self._step_callback(on_step, key.steps),
            ).images
            denoised = self._now()
            requested = sum(request.images for request in batch)
            pictures = iter(self._decoder.pictures(latents[:requested]))
            decoded = self._now()
        return BatchOutput(
            pictures=[[next(pictures) for _ in request.seeds] for request in batch],
            seconds={
                "text_encoder": encoded - begin,
                "denoise": denoised - encoded,
                "vae": decoded - denoised,
            },
        )

    def _encode(self, images: Sequence[ImageRequest]) -> dict[str, torch.Tensor]:
        """Returns the pipeline's arguments for the prompts and, with guidance, negative prompts."""
        prompts = [request.prompt for request in images]
        negative_prompts = [request.negative_prompt for request in images]
        guided = images[0].guidance_scale > 1 and self._pipe.unet.config.time_cond_proj_dim is None
        texts = prompts + negative_prompts if guided else prompts
        cached = not self._loras.changes_text(images[0].lora)
        embeddings = self._prompts.encode(texts, cached=cached)
        arguments = _stacked("", embeddings[: len(images)])
        if guided:
            negative = embeddings[len(images) :]
            if self._pipe.config.get("force_zeros_for_empty_prompt"):  # as SDXL was trained
                negative = [
                    embedding if text else embedding.zeros()
                    for text, embedding in zip(negative_prompts, negative, strict=True)
                ]
            arguments |= _stacked("negative_", negative)
        return arguments

    def _step_callback(
        self, on_step: OnStep | None, steps: int
    ) -> Callable[..., dict[str, Any]] | None:
        """Returns the function that diffusers calls at the end of a step."""
        if on_step is None:
            return None

        def callback(_: Any, step: int, __: Any, ___: dict[str, Any]) -> dict[str, Any]:
            self._now()  # the step is over when the device has finished it
            on_step(step + 1, steps)
            return {}

        return callback

    def _now(self) -> float:
        """Returns the time once the device has finished its work."""
        if self.device == "cuda":
            torch.cuda.synchronize(self._device)
        return time.monotonic()


def uuid_of(device: torch.device) -> str:
    """Returns the GPU's UUID in NVML's form."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def _row_sizes(batch_sizes: Sequence[int]) -> Sequence[int]:
    """Returns the U-Net's rows for these numbers of images, without guidance and with it."""
    return sorted({rows for size in batch_sizes for rows in (size, 2 * size)})


def _filled(images: int, sizes: Sequence[int]) -> int:
    """Returns the smallest size that holds so many images; their number where none does."""
    return next((size for size in sizes if size >= images), images)


def _stacked(prefix: str, embeddings: Sequence[Embedding]) -> dict[str, torch.Tensor]:
    """Stacks embeddings to the arguments of diffusers' pipeline."""
    tokens = torch.stack([embedding.tokens for embedding in embeddings])
    pooled = [embedding.pooled for embedding in embeddings if embedding.pooled is not None]
    if not pooled:
        return {f"{prefix}prompt_embeds": tokens}
    return {
        f"{prefix}prompt_embeds": tokens,
        f"{prefix}pooled_prompt_embeds": torch.stack(pooled),
    }
