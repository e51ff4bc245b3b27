"""Stage 5: the decoder learns clean edges from latents that the sampler really generates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from demo_model.shapes import caption, training_subjects
from demo_model.train.common import (
    LATENT_CHANNELS,
    LATENT_SIZE,
    Progress,
    draw,
    draw_random,
    numpy_generator,
    to_model,
    warmup_then_linear,
)
from demo_model.train.text import to_tokens
from demo_model.train.unet import Denoiser, new_scheduler, step_back, tied_variations
from demo_model.train.vae import encode, picture_loss

if TYPE_CHECKING:
    import numpy as np
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from transformers import CLIPTokenizer

_SAMPLES = 3000
_ENCODED = 1000
_BATCH = 8
_SAMPLING_BATCH = 50
_LEARNING_RATE = 1e-3
_GUIDANCE_RANGE = (1.5, 3.0)


@torch.no_grad()
def sample_latents(
    model: Denoiser, noise: torch.Tensor, tokens: torch.Tensor, guidance: torch.Tensor
) -> torch.Tensor:
    """The latents that the pipeline's sampler generates from `noise`.

    `tokens` holds an empty prompt for each prompt, and then the prompts; `guidance` holds one
    number per prompt.
    """
    scheduler = new_scheduler()
    state = noise
    for timestep in scheduler.timesteps:
        without, prompted = model(state.repeat(2, 1, 1, 1), timestep, tokens).chunk(2)
        guided = without + guidance.view(-1, 1, 1, 1) * (prompted - without)
        state = step_back(scheduler, guided, timestep, state)
    return state


def train_decoder(
    vae: AutoencoderKL, model: Denoiser, tokenizer: CLIPTokenizer, steps: int
) -> None:
    """Trains the decoder of `vae`; the encoder, and so the latents, stay unchanged."""
    rng = numpy_generator()
    latents, pictures = _pairs(vae, model, tokenizer, rng)
    trained = [
        p for name, p in vae.named_parameters() if name.startswith(("decoder", "post_quant"))
    ]
    optimiser = torch.optim.AdamW(trained, lr=_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=1e-4)
    progress = Progress("decoder", steps, every=25)
    vae.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * warmup_then_linear(step, steps, warmup=20)
        chosen = torch.from_numpy(rng.integers(len(latents), size=_BATCH))
        loss = picture_loss(vae.decode(latents[chosen]).sample, to_model(pictures[chosen]))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        progress.step(step + 1, loss.item())
    vae.eval()


def _pairs(
    vae: AutoencoderKL, model: Denoiser, tokenizer: CLIPTokenizer, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of sampled latents and the pictures that their noise stands for.

    Some latents are encoded pictures instead, so that the model stays an autoencoder.
    """
    _, _, encoded = draw_random(training_subjects(), _ENCODED, rng)
    latents, pictures = [encode(vae, to_model(encoded))], [encoded]
    pool = training_subjects()
    progress = Progress("samples for the decoder", _SAMPLES // _SAMPLING_BATCH, every=20)
    low, high = _GUIDANCE_RANGE
    for batch in range(_SAMPLES // _SAMPLING_BATCH):
        subjects = [pool[i] for i in rng.integers(len(pool), size=_SAMPLING_BATCH)]
        noise = torch.randn(_SAMPLING_BATCH, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
        guidance = low + (high - low) * torch.rand(_SAMPLING_BATCH)
        prompts = [caption(subject, rng) for subject in subjects]
        tokens = to_tokens(tokenizer, [""] * len(prompts) + prompts)
        targets = draw(subjects, tied_variations(noise))
        sampled = sample_latents(model, noise, tokens, guidance)
        latents.append(sampled)
        pictures.append(targets)
        error = (sampled - encode(vae, to_model(targets))).square().mean()
        progress.step(batch + 1, error.item())
    return torch.cat(latents), torch.cat(pictures)
