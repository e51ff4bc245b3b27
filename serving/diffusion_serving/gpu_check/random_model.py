"""A Stable Diffusion model with random weights, as a directory that the server loads.

Its pictures mean nothing, but a step costs what a trained model's costs.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from diffusion_serving.pipeline.loading import quieten

_libraries: Any = (diffusers, transformers)  # both carry few annotations
_BLOCKS = 4
_VAE_BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * _BLOCKS,
    "up_block_types": ("UpDecoderBlock2D",) * _BLOCKS,
    "latent_channels": 4,
}

ARCHITECTURES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "sd14": {
        "unet": {
            "sample_size": 64,
            "block_out_channels": (320, 640, 1280, 1280),
            "layers_per_block": 2,
            "cross_attention_dim": 768,
            "attention_head_dim": 8,
        },
        "vae": {
            **_VAE_BLOCKS,
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "sample_size": 512,
        },
        "text_encoder": {
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
        },
    },
    "tiny": {
        "unet": {
            "sample_size": 8,
            "block_out_channels": (8, 8),
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "layers_per_block": 1,
            "cross_attention_dim": 16,
            "attention_head_dim": 4,
            "norm_num_groups": 2,
        },
        "vae": {
            **_VAE_BLOCKS,
            "block_out_channels": (4,) * _BLOCKS,
            "layers_per_block": 1,
            "norm_num_groups": 1,
            "sample_size": 64,
        },
        "text_encoder": {
            "vocab_size": 256,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 77,
        },
    },
}
"""The parts' configurations. `sd14` is that of CompVis/stable-diffusion-v1-4, of 860 million
parameters in the U-Net, and `tiny` a model of a second on a CPU."""


def save_random_model(folder: Path, size: str) -> None:
    """Saves a model of that architecture in half precision; the same weights each time.

    Args:
        folder: the new directory; `sd14` takes 2 GB, and 5 GB of memory while it is made.
        size: a name of `ARCHITECTURES`.

    """
    quieten()
    diffusion, transformer = _libraries
    parts = ARCHITECTURES[size]
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(folder / "tokenizer")
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(0)
    text = transformer.CLIPTextConfig(**parts["text_encoder"], **special)
    pipeline = diffusion.StableDiffusionPipeline(
        text_encoder=transformer.CLIPTextModel(text),
        tokenizer=tokenizer,
        vae=diffusion.AutoencoderKL(**parts["vae"]),
        unet=diffusion.UNet2DConditionModel(**parts["unet"]),
        scheduler=diffusion.PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder)


def _tokenizer(folder: Path) -> Any:
    """Returns a tokenizer of CLIP's byte-level scheme that knows single letters alone."""
    _, transformer = _libraries
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>"]
    folder.mkdir()
    vocabulary = {token: place for place, token in enumerate([*tokens, "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return transformer.CLIPTokenizer.from_pretrained(folder, model_max_length=77)
