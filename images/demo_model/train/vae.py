"""Stage 1: the autoencoder, which turns 128 x 128 pictures into 16 x 16 latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch.nn import functional

from demo_model.shapes import SIZE, training_subjects
from demo_model.train.common import (
    LATENT_CHANNELS,
    Progress,
    draw_random,
    lay_out,
    numpy_generator,
    to_model,
    warmup_then_linear,
)

if TYPE_CHECKING:
    import numpy as np

_BATCH = 24
_CROP = 64
_POOL = 3000
_LEARNING_RATE = 2.5e-3
_LATENT_NOISE = 0.05
_DECORRELATION = 0.05
_EDGE_WEIGHT = 2.0
_EDGE_CONTRAST = 0.1


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder of 0.28 million weights."""
    vae: AutoencoderKL = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 24, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        # With more groups, narrow layers lose the brightness of flat areas, and colours drift.
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=SIZE,
        scaling_factor=1.0,
    )
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            # Blocks start near the identity, so that a narrow network trains from the first step.
            torch.nn.init.normal_(module.conv2.weight, std=0.003)
    lay_out(vae, torch.channels_last)
    return vae


def edge_weights(pictures: torch.Tensor) -> torch.Tensor:
    """Weights that are higher on and beside edges, which decide the shape; 1 on average."""
    high = functional.max_pool2d(pictures, 5, 1, 2)
    low = -functional.max_pool2d(-pictures, 5, 1, 2)
    weights = 1 + _EDGE_WEIGHT * ((high - low).amax(1, keepdim=True) > _EDGE_CONTRAST).float()
    return weights / weights.mean()


def picture_loss(decoded: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss of a decoded picture: pixels, with weight on edges, and colours of flat areas."""
    error = decoded - target
    weights = edge_weights(target)
    pixels = (weights * (error.abs() + error.square())).mean()
    return pixels + functional.avg_pool2d(error, 8).abs().mean()


def train_vae(vae: AutoencoderKL, steps: int) -> None:
    """Trains on crops, then scales the latents to mean 0 and covariance 1."""
    rng = numpy_generator()
    vae.train()
    optimiser = torch.optim.AdamW(
        vae.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=1e-4
    )
    _, _, pool = draw_random(training_subjects(), _POOL, rng)
    progress = Progress("vae", steps)
    mean, deviation = torch.zeros(LATENT_CHANNELS), torch.ones(LATENT_CHANNELS)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * warmup_then_linear(step, steps, warmup=50)
        crops = to_model(_random_crops(pool, rng))
        latents = _convolution(vae.quant_conv)(vae.encoder(crops))[:, :LATENT_CHANNELS]
        batch_mean, batch_deviation, dependence = _statistics(latents)
        momentum = 0.05 if step else 1.0
        mean.lerp_(batch_mean.detach(), momentum)
        deviation.lerp_(batch_deviation.detach(), momentum)
        normal = (latents - _per_channel(batch_mean)) / _per_channel(batch_deviation)
        noisy = normal + _LATENT_NOISE * torch.randn_like(normal)
        loss = picture_loss(vae.decode(noisy).sample, crops)
        optimiser.zero_grad()
        torch.autograd.backward(loss + _DECORRELATION * dependence)
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        progress.step(step + 1, loss.item())
    vae.eval()
    with torch.no_grad():
        _scale_latents(vae, mean, deviation)
        _, _, sample = draw_random(training_subjects(), 192, rng)
        _whiten(vae, to_model(sample))


def _random_crops(pool: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Random crops that start on latent cells, smaller than the picture to save time."""
    places = (SIZE - _CROP) // 8 + 1
    crops = []
    for i, row, column in zip(
        rng.integers(len(pool), size=_BATCH),
        8 * rng.integers(places, size=_BATCH),
        8 * rng.integers(places, size=_BATCH),
        strict=True,
    ):
        crops.append(pool[i, :, row : row + _CROP, column : column + _CROP])
    return torch.stack(crops)


def _statistics(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and deviation of each channel, and the strength of the channels' correlation."""
    flat = latents.transpose(0, 1).reshape(LATENT_CHANNELS, -1)
    mean = flat.mean(1)
    centred = flat - mean[:, None]
    covariance = centred @ centred.T / flat.shape[1]
    deviation = covariance.diagonal().sqrt() + 1e-4
    correlation = covariance / (deviation[:, None] * deviation)
    off_diagonal = correlation - torch.diag(correlation.diagonal())
    return mean, deviation, off_diagonal.square().sum()


def _per_channel(values: torch.Tensor) -> torch.Tensor:
    return values.view(1, -1, 1, 1)


def _convolution(module: torch.nn.Conv2d | None) -> torch.nn.Conv2d:
    """The convolution beside the latents, which is optional in diffusers; this model has it."""
    if module is None:
        raise TypeError("the autoencoder has no convolutions beside its latents")
    return module


def _scale_latents(vae: AutoencoderKL, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Folds the training's normalisation into the encoder's last layer."""
    weight, bias = _convolution(vae.quant_conv).parameters()
    weight[:LATENT_CHANNELS] /= deviation.view(-1, 1, 1, 1)
    bias[:LATENT_CHANNELS] = (bias[:LATENT_CHANNELS] - mean) / deviation


def _whiten(vae: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Rotates and scales the latents to resemble diffusion noise, and reverses that on decoding."""
    latents = encode(vae, pictures)
    flat = latents.permute(0, 2, 3, 1).reshape(-1, LATENT_CHANNELS)
    mean = flat.mean(0)
    values, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
    there, back = (vectors / values.sqrt()).T, vectors * values.sqrt()
    weight, bias = _convolution(vae.quant_conv).parameters()
    weight[:LATENT_CHANNELS, :, 0, 0] = there @ weight[:LATENT_CHANNELS, :, 0, 0]
    bias[:LATENT_CHANNELS] = there @ (bias[:LATENT_CHANNELS] - mean)
    # The second half is the latents' log-variance, which is set to almost no variance.
    weight[LATENT_CHANNELS:], bias[LATENT_CHANNELS:] = 0, -8
    weight, bias = _convolution(vae.post_quant_conv).parameters()
    bias.add_(weight[:, :, 0, 0] @ mean)
    weight[:, :, 0, 0] = weight[:, :, 0, 0] @ back


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """The latents of pictures between -1 and 1."""
    parts: list[torch.Tensor] = [
        vae.encode(part).latent_dist.mode() for part in torch.split(pictures, 32)
    ]
    return torch.cat(parts)
