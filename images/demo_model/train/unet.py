"""Stages 3 and 4: the U-Net, which generates latents from noise and text.

A picture varies in position, size and arrangement, which the prompt does not decide; in four steps,
a model that must guess them draws a blurred average. So each picture is tied to its noise: the mean
of the noise in channel k decides the k-th number of the picture's Variation. Over all pictures the
noise is still plain Gaussian noise, so sampling needs no special code, and a seed decides the
picture from the first step on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch.nn import functional

from demo_model.shapes import VARIATIONS, caption, training_subjects
from demo_model.train.common import (
    LATENT_CHANNELS,
    LATENT_SIZE,
    Progress,
    draw_random,
    lay_out,
    numpy_generator,
    to_model,
    warmup_then_linear,
)
from demo_model.train.text import WIDTH, to_tokens
from demo_model.train.vae import encode

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from numpy.typing import NDArray
    from transformers import CLIPTextModel, CLIPTokenizer

STEPS: Final = 4
"""The number of steps at inference, whose timesteps training favours."""

_BATCH = 32
_POOL = 6000
_LEARNING_RATE = 1.2e-3
_REHEARSAL_LEARNING_RATE = 4e-4
_AVERAGE = 0.998
_NO_PROMPT_SHARE = 0.1
_FREE_NOISE_SHARE = 0.1
_EMPHASIS_SHARE = 0.6
_INFERENCE_STEP_SHARE = 0.8
_INFERENCE_STEP_WEIGHTS = (0.4, 0.2, 0.2, 0.2)
_FOREGROUND_WEIGHT = 3.0
_VISIBLE = 0.05
_GUIDANCE_RANGE = (1.0, 3.5)


@dataclass(frozen=True)
class Examples:
    """A pool of encoded pictures."""

    latents: torch.Tensor
    tokens: torch.Tensor
    nothing: torch.Tensor
    """The tokens of the empty prompt."""
    variations: torch.Tensor
    weights: torch.Tensor
    """The weights of the loss: 1 on average, higher inside shapes."""

    def __len__(self) -> int:
        return len(self.latents)


class Denoiser(torch.nn.Module):
    """The U-Net and the text encoder, of 1.7 and 0.1 million weights, which train together."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.unet = new_unet()

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """The predicted velocity."""
        text = self.encoder(tokens).last_hidden_state
        image = noisy.contiguous(memory_format=torch.channels_last)
        velocity: torch.Tensor = self.unet(image, timesteps, text).sample
        return velocity


class Average:
    """A running average of a model's weights, which draws better than the last weights."""

    def __init__(self, model: Denoiser) -> None:
        self._model = model
        self._weights = [parameter.detach().clone() for parameter in model.parameters()]
        self._updates = 0

    def update(self) -> None:
        """Moves towards the model's current weights, faster in the beginning."""
        keep = min(_AVERAGE, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        with torch.no_grad():
            torch._foreach_lerp_(self._weights, list(self._model.parameters()), 1 - keep)

    def apply(self) -> None:
        """Replaces the model's weights by their average."""
        with torch.no_grad():
            for parameter, weight in zip(self._model.parameters(), self._weights, strict=True):
                parameter.copy_(weight)


def new_scheduler() -> DDIMScheduler:
    """The sampler, which starts from pure noise; else colours of flat areas would be wrong.

    Training ends in pure noise, too.
    """
    scheduler: DDIMScheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )
    scheduler.set_timesteps(STEPS)
    return scheduler


def new_unet() -> UNet2DConditionModel:
    """An untrained U-Net of 1.7 million weights."""
    unet: UNet2DConditionModel = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=2,
    )
    lay_out(unet, torch.channels_last)
    return unet


def make_examples(vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> Examples:
    """Draws and encodes all pictures once, before the training."""
    rng = numpy_generator()
    subjects, variations, drawn = draw_random(training_subjects(), _POOL, rng)
    latents, weights = [], []
    for part in torch.split(drawn, 100):
        pictures = to_model(part)
        latents.append(encode(vae, pictures))
        weights.append(_foreground_weights(pictures))
    return Examples(
        latents=torch.cat(latents),
        tokens=to_tokens(tokenizer, [caption(subject, rng) for subject in subjects]),
        nothing=to_tokens(tokenizer, [""]),
        variations=torch.from_numpy(variations).float(),
        weights=torch.cat(weights) / torch.cat(weights).mean(),
    )


def _foreground_weights(pictures: torch.Tensor) -> torch.Tensor:
    """Weights that favour shapes, which matter most but cover a small part of the picture."""
    paper = pictures[:, :, :1, :1]
    ink = ((pictures - paper).abs().amax(1, keepdim=True) > _VISIBLE).float()
    return 1 + _FOREGROUND_WEIGHT * functional.max_pool2d(ink, 8)


def step_back(
    scheduler: DDIMScheduler, velocity: torch.Tensor, timestep: torch.Tensor, state: torch.Tensor
) -> torch.Tensor:
    """The sampler's next state."""
    next_state: torch.Tensor
    next_state, *_ = scheduler.step(velocity, int(timestep), state, return_dict=False)
    return next_state


def tie_noise(noise: torch.Tensor, variations: torch.Tensor, emphasis: float = 1.0) -> torch.Tensor:
    """Sets the noise's channel means to values that encode `variations`, times `emphasis`."""
    # A channel's mean over n cells has deviation 1 / sqrt(n) = 1 / LATENT_SIZE.
    normal = torch.erfinv(variations.clamp(-0.9999, 0.9999)) * 2**0.5
    means = emphasis * normal[:, :, None, None] / LATENT_SIZE
    tied, rest = noise[:, :VARIATIONS], noise[:, VARIATIONS:]
    return torch.cat([tied - tied.mean((2, 3), keepdim=True) + means, rest], 1)


def tied_variations(noise: torch.Tensor) -> NDArray[np.float64]:
    """The variations that the noise's channel means encode, the reverse of `tie_noise`."""
    means = noise[:, :VARIATIONS].mean((2, 3)).double() * LATENT_SIZE
    return np.asarray(torch.erf(means / 2**0.5).numpy())


def train_denoiser(model: Denoiser, examples: Examples, steps: int) -> None:
    """Stage 3: ordinary diffusion training, except for the tied noise."""
    scheduler = new_scheduler()
    average = Average(model)
    optimiser = _optimiser(model)
    progress = Progress("unet", steps, every=100)
    for step in range(steps):
        _set_rate(optimiser, _LEARNING_RATE * warmup_then_linear(step, steps, warmup=60, hold=0.4))
        chosen = torch.randint(len(examples), (_BATCH,))
        latents, weights = examples.latents[chosen], examples.weights[chosen]
        timesteps = _random_timesteps(scheduler)
        free = torch.randn_like(latents)
        # The model learns the channel means only if they are strong at first.
        emphasis = LATENT_SIZE ** max(0.0, 1 - step / (_EMPHASIS_SHARE * steps))
        tied = tie_noise(free, examples.variations[chosen], emphasis)
        # With samplers that add fresh noise at each step, only the latents have the variations.
        use_free = (torch.rand(_BATCH) < _FREE_NOISE_SHARE) & (timesteps < scheduler.timesteps[0])
        noise = torch.where(use_free.view(-1, 1, 1, 1), free, tied)
        tokens = torch.where(
            torch.rand(_BATCH, 1) < _NO_PROMPT_SHARE, examples.nothing, examples.tokens[chosen]
        )
        alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
        loss = (weights * (model(noisy, timesteps, tokens) - target).square()).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update()
        progress.step(step + 1, loss.item())
    average.apply()


def _random_timesteps(scheduler: DDIMScheduler) -> torch.Tensor:
    at_inference = scheduler.timesteps[
        torch.multinomial(torch.tensor(_INFERENCE_STEP_WEIGHTS), _BATCH, replacement=True)
    ]
    anywhere = torch.randint(0, len(scheduler.alphas_cumprod), (_BATCH,))
    return torch.where(torch.rand(_BATCH) < _INFERENCE_STEP_SHARE, at_inference, anywhere)


def rehearse(model: Denoiser, examples: Examples, steps: int) -> None:
    """Stage 4: training on the sampler's own steps, with guidance, towards the picture.

    Diffusion training shows the model only perfect intermediate states; this stage shows its own.
    """
    scheduler = new_scheduler()
    average = Average(model)
    nothing = examples.nothing.expand(_BATCH, -1)
    optimiser = _optimiser(model)
    progress = Progress("rehearsal", steps, every=25)
    low, high = _GUIDANCE_RANGE
    for step in range(steps):
        _set_rate(optimiser, _REHEARSAL_LEARNING_RATE * warmup_then_linear(step, steps, warmup=20))
        chosen = torch.randint(len(examples), (_BATCH,))
        latents, weights = examples.latents[chosen], examples.weights[chosen]
        tokens = torch.cat([nothing, examples.tokens[chosen]])
        guidance = low + (high - low) * torch.rand(_BATCH, 1, 1, 1)
        state = tie_noise(torch.randn_like(latents), examples.variations[chosen])
        total = 0.0
        optimiser.zero_grad()
        for i, timestep in enumerate(scheduler.timesteps):
            without, prompted = model(state.repeat(2, 1, 1, 1), timestep, tokens).chunk(2)
            guided = without + guidance * (prompted - without)
            target = _velocity_towards(latents, state, scheduler.alphas_cumprod[timestep])
            loss = (weights * (prompted - target).square()).mean()
            if i > 0:
                # In the first step only the prompt has information, so guidance must overshoot.
                loss = loss + (weights * (guided - target).square()).mean()
            torch.autograd.backward(loss)
            total += loss.item()
            state = step_back(scheduler, guided.detach(), timestep, state)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update()
        progress.step(step + 1, total)
    average.apply()


def _velocity_towards(
    latents: torch.Tensor, state: torch.Tensor, alpha: torch.Tensor
) -> torch.Tensor:
    """The velocity at `state` that points exactly at `latents`."""
    return (alpha.sqrt() * state - latents) / (1 - alpha).sqrt()


def _optimiser(model: Denoiser) -> torch.optim.AdamW:
    """The optimiser, with half the rate for the text encoder, which is already trained."""
    return torch.optim.AdamW(
        [
            {"params": list(model.unet.parameters()), "share": 1.0},
            {"params": list(model.encoder.parameters()), "share": 0.5},
        ],
        betas=(0.9, 0.98),
        weight_decay=1e-3,
    )


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]
