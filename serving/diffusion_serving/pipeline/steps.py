"""A Stable Diffusion model one step at a time, each image with a state of its own."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from typing import Any

import torch
from diffusers.utils import torch_utils

from diffusion_serving.documents.serving_config import Scheduler
from diffusion_serving.engine.image_request import ImageRequest, LoraUse
from diffusion_serving.engine.pipeline_interface import ImageState, Picture
from diffusion_serving.pipeline.decoding import Decoder, filled
from diffusion_serving.pipeline.failures import device_probe, guarded
from diffusion_serving.pipeline.loras import Loras
from diffusion_serving.pipeline.prompts import Embedding, PromptEncoder
from diffusion_serving.pipeline.schedulers import make_scheduler

_torch_utils: Any = torch_utils  # carries few annotations
_KNOWN_STEPS = 64
"""Step counts whose schedules are kept."""


class LostStateError(RuntimeError):
    """A scheduler failed in the middle of a step, so its image can't go on."""


@dataclass(eq=False, slots=True)
class LatentImage:
    """An image's own state: everything that diffusers' loop keeps between two of its steps.

    `pixels` are width times height of the finished image, `latents` are (1, 4, height / 8,
    width / 8). `negative` is None without guidance. `strength` is the embedding of the guidance
    scale, for models that were distilled to take one.
    """

    pixels: int
    latents: torch.Tensor
    scheduler: Any
    generator: torch.Generator
    guidance_scale: float
    lora: LoraUse | None
    prompt: Embedding
    negative: Embedding | None
    time_ids: torch.Tensor | None
    strength: torch.Tensor | None
    steps_done: int = 0
    is_whole: bool = True

    @property
    def steps_left(self) -> int:
        return len(self.scheduler.timesteps) - self.steps_done

    @property
    def timestep(self) -> torch.Tensor:
        timestep: torch.Tensor = self.scheduler.timesteps[self.steps_done]
        return timestep


class DiffusersSteps:
    """The engine's `StepPipeline` over the parts of a diffusers pipeline.

    Args:
        pipe: the diffusers pipeline, on its device.
        scheduler: the name of the scheduler; each image gets an instance of its own.
        prompts: its text encoders.
        loras: its LoRAs.
        attention: returns the context in which the model runs.
        decoder: its decoder.
        rows: the numbers of U-Net rows to which a step is filled up, as compiled code needs.

    """

    def __init__(
        self,
        pipe: Any,
        scheduler: Scheduler,
        *,
        prompts: PromptEncoder,
        loras: Loras,
        attention: Callable[[], AbstractContextManager[None]],
        decoder: Decoder,
        rows: Sequence[int] = (),
    ) -> None:
        self._pipe = pipe
        self._prompts = prompts
        self._loras = loras
        self._attention = attention
        self._decoder = decoder
        self._rows = rows
        # Read once: each time diffusers walks through the modules of the model.
        self._device: torch.device = pipe.device
        self._probe = device_probe(self._device)
        own = pipe.scheduler  # a call of the pipeline sets another

        @lru_cache(_KNOWN_STEPS)
        def schedule(steps: int) -> Any:
            made = make_scheduler(scheduler, own, steps)
            made.set_timesteps(steps, device=self._device)
            # SDXL's pipeline alone does this, with those schedulers that have it.
            if "force_zeros_for_empty_prompt" in pipe.config and hasattr(made, "set_begin_index"):
                made.set_begin_index(0)
            return made

        self._schedule = schedule
        self._takes = frozenset(signature(schedule(1).step).parameters)

    def begin(self, requests: Sequence[ImageRequest]) -> list[list[LatentImage]]:
        """Encodes the texts of requests that share a step key; returns a state for each image."""
        return guarded(lambda: self._begin(requests), self._probe)

    def step(self, images: Sequence[ImageState]) -> None:
        """Makes one denoising step of images that share a step key, each at its own timestep.

        Raises:
            LostStateError: an image's scheduler failed in an earlier step.

        """
        guarded(lambda: self._step(_latent(images)), self._probe)

    def decode(self, images: Sequence[ImageState]) -> list[Picture]:
        """Decodes images that share a size and have no steps left.

        Raises:
            NotFiniteError: the precision is too low for the model.

        """
        return guarded(lambda: self._decode(_latent(images)), self._probe)

    @torch.inference_mode()
    def _begin(self, requests: Sequence[ImageRequest]) -> list[list[LatentImage]]:
        lora = requests[0].lora
        self._loras.use(lora)
        guided = [request for request in requests if self._is_guided(request)]
        texts = [request.prompt for request in requests]
        texts += [request.negative_prompt for request in guided]
        with self._attention():
            known = self._prompts.encode(texts, cached=not self._loras.changes_text(lora))
        negatives = iter(known[len(requests) :])
        return [
            [
                self._state(request, seed, prompt, negative)
                for negative in [self._negative(request, negatives)]
                for seed in request.seeds
            ]
            for request, prompt in zip(requests, known, strict=False)
        ]

    def _negative(self, request: ImageRequest, embeddings: Any) -> Embedding | None:
        """Takes the next embedding for a guided request; zeros where SDXL was trained with them."""
        if not self._is_guided(request):
            return None
        embedding: Embedding = next(embeddings)
        if self._pipe.config.get("force_zeros_for_empty_prompt") and not request.negative_prompt:
            return embedding.zeros()
        return embedding

    def _is_guided(self, request: ImageRequest) -> bool:
        return request.guidance_scale > 1 and self._pipe.unet.config.time_cond_proj_dim is None

    def _state(
        self, request: ImageRequest, seed: int, prompt: Embedding, negative: Embedding | None
    ) -> LatentImage:
        pipe, scheduler = self._pipe, _own_copy(self._schedule(request.steps))
        factor = pipe.vae_scale_factor
        # On the CPU for every device, so that a seed means the same on each.
        generator = torch.Generator().manual_seed(seed)
        latents: torch.Tensor = _torch_utils.randn_tensor(
            (1, pipe.unet.config.in_channels, request.height // factor, request.width // factor),
            generator=generator,
            device=self._device,
            dtype=prompt.tokens.dtype,
        )
        return LatentImage(
            request.pixels,
            latents * scheduler.init_noise_sigma,
            scheduler,
            generator,
            request.guidance_scale,
            request.lora,
            prompt,
            negative,
            self._time_ids(request, prompt),
            self._strength(request.guidance_scale, latents.dtype),
        )

    def _time_ids(self, request: ImageRequest, prompt: Embedding) -> torch.Tensor | None:
        """Returns SDXL's sizes and crop, (1, 6); None for another model."""
        if prompt.pooled is None:
            return None
        size = (request.height, request.width)
        ids: torch.Tensor = self._pipe._get_add_time_ids(  # noqa: SLF001 - as the pipeline does
            size, (0, 0), size, prompt.tokens.dtype, int(prompt.pooled.shape[-1])
        )
        return ids.to(self._device)

    def _strength(self, guidance_scale: float, dtype: torch.dtype) -> torch.Tensor | None:
        """Returns the embedding of the guidance scale; None for a model that takes none."""
        if (width := self._pipe.unet.config.time_cond_proj_dim) is None:
            return None
        scale = torch.tensor([guidance_scale - 1])
        embedding: torch.Tensor = self._pipe.get_guidance_scale_embedding(
            scale, embedding_dim=width
        )
        return embedding.to(device=self._device, dtype=dtype)

    @torch.inference_mode()
    def _step(self, images: Sequence[LatentImage]) -> None:
        if not all(image.is_whole for image in images):
            raise LostStateError("a scheduler failed in an earlier step")
        self._loras.use(images[0].lora)
        with self._attention():
            noise = self._noise(images)
        guided = iter(range(len(noise) - len(images)))
        for row, image in enumerate(images, len(noise) - len(images)):
            predicted = noise[row : row + 1]
            if image.negative is not None:
                place = next(guided)
                without = noise[place : place + 1]
                predicted = without + image.guidance_scale * (predicted - without)
            self._advance(image, predicted)
        self._wait()

    def _noise(self, images: Sequence[LatentImage]) -> torch.Tensor:
        """Calls the U-Net: one row for each guided image's negative prompt, then one for each."""
        guided = [image for image in images if image.negative is not None]
        rows = [*guided, *images]
        inputs = {
            id(image): image.scheduler.scale_model_input(image.latents, image.timestep)
            for image in images
        }
        texts = [image.negative for image in guided if image.negative is not None]
        texts += [image.prompt for image in images]
        noise: torch.Tensor = self._pipe.unet(
            self._filled(torch.cat([inputs[id(image)] for image in rows])),
            self._filled(torch.stack([image.timestep for image in rows])),
            encoder_hidden_states=self._filled(torch.stack([text.tokens for text in texts])),
            timestep_cond=self._stacked([image.strength for image in rows]),
            added_cond_kwargs=self._added(rows, texts),
            return_dict=False,
        )[0]
        return noise[: len(rows)]

    def _added(
        self, rows: Sequence[LatentImage], texts: Sequence[Embedding]
    ) -> dict[str, torch.Tensor] | None:
        """Returns SDXL's further conditions; None for another model."""
        time_ids = self._stacked([image.time_ids for image in rows])
        if time_ids is None:
            return None
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return {"text_embeds": self._filled(torch.stack(pooled)), "time_ids": time_ids}

    def _stacked(self, parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
        known = [part for part in parts if part is not None]
        return self._filled(torch.cat(known)) if known else None

    def _filled(self, rows: torch.Tensor) -> torch.Tensor:
        return filled(rows, self._rows)

    def _advance(self, image: LatentImage, predicted: torch.Tensor) -> None:
        """Makes the scheduler's step, with the noise that it takes from the image's generator."""
        image.is_whole = False  # a scheduler that fails halfway has a state of no step
        # diffusers' pipelines set eta to 0 for each scheduler that takes it, TCD too.
        known = {"generator": image.generator, "eta": 0.0}
        options = {name: value for name, value in known.items() if name in self._takes}
        image.latents = image.scheduler.step(
            predicted, image.timestep, image.latents, **options, return_dict=False
        )[0]
        image.steps_done += 1
        image.is_whole = True

    @torch.inference_mode()
    def _decode(self, images: Sequence[LatentImage]) -> list[Picture]:
        with self._attention():
            return self._decoder.pictures(torch.cat([image.latents for image in images]))

    def _wait(self) -> None:
        """Waits until the device has finished the step, so that its time is known."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _latent(images: Sequence[ImageState]) -> list[LatentImage]:
    return [image for image in images if isinstance(image, LatentImage)]


def _own_copy(scheduler: Any) -> Any:
    """Copies a scheduler that has made no step.

    Copies share the tables, which no step changes, and have a history of their own.
    """
    own = copy.copy(scheduler)
    for name, value in vars(scheduler).items():
        if isinstance(value, list):
            setattr(own, name, list(value))
    return own
