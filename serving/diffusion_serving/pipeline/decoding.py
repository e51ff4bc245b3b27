"""The autoencoder's half that turns latents into pictures."""

from collections.abc import Sequence
from typing import Any

import torch

from diffusion_serving.engine.pipeline_interface import NotFiniteError, Picture

_DAMAGED = (
    "Its weights hold such values, or are not those of its configuration: copy the model again."
)


class Decoder:
    """The decoder of a diffusers pipeline.

    Args:
        pipe: the diffusers pipeline.
        sizes: the numbers of images to which a batch is filled up, as compiled code needs; smallest
            first, empty where any number will do.

    """

    def __init__(self, pipe: Any, sizes: Sequence[int] = ()) -> None:
        self._pipe = pipe
        self._sizes = sizes

    def pictures(self, latents: torch.Tensor) -> list[Picture]:
        """Decodes latents of (images, 4, height / 8, width / 8).

        Raises:
            NotFiniteError: the precision is too low for the model.

        """
        return _pictures(self.pixels(latents))

    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """Returns (images, 3, height, width) values of about -1 to 1.

        An autoencoder that overflows in half precision decodes again in full precision.

        Raises:
            NotFiniteError: the latents themselves are not finite, or full precision overflows too.

        """
        if not _finite(latents):
            raise NotFiniteError(_remedy(latents))
        pixels = self._decode(latents)
        vae = self._pipe.vae
        if not _finite(pixels) and vae.dtype == torch.float16:
            # Exact both ways: float32 holds every value of float16.
            vae.to(torch.float32)
            try:
                pixels = self._decode(latents)
            finally:
                vae.to(torch.float16)
        if not _finite(pixels):
            raise NotFiniteError(f"The autoencoder computed them. {_DAMAGED}")
        return pixels

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae, images = self._pipe.vae, len(latents)
        latents = filled(latents.to(vae.dtype), self._sizes)
        mean, deviation = (vae.config.get(name) for name in ("latents_mean", "latents_std"))
        if mean is not None and deviation is not None:
            latents = latents * latents.new_tensor(deviation).view(1, -1, 1, 1)
        latents = latents / vae.config.scaling_factor
        if mean is not None and deviation is not None:
            latents = latents + latents.new_tensor(mean).view(1, -1, 1, 1)
        pixels: torch.Tensor = vae.decode(latents, return_dict=False)[0]
        return pixels[:images]


def filled(rows: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Repeats the last row until there are as many as the smallest size that holds them all."""
    size = next((size for size in sizes if size >= len(rows)), len(rows))
    if size == len(rows):
        return rows
    return torch.cat([rows, rows[-1:].expand(size - len(rows), *rows.shape[1:])])


def _remedy(latents: torch.Tensor) -> str:
    """Returns the remedy for a model that computed these latents, which are not finite."""
    if latents.dtype != torch.float16:
        return _DAMAGED
    if latents.is_cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float16 is too small for this model, and the GPU has no bfloat16: set float32."
    return "float16 is too small for this model: set precision to bfloat16, or to float32."


def _finite(values: torch.Tensor) -> bool:
    return bool(torch.isfinite(values).all())


def _pictures(pixels: torch.Tensor) -> list[Picture]:
    scaled = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    rows = scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return [Picture(image.shape[1], image.shape[0], image.tobytes()) for image in rows]
