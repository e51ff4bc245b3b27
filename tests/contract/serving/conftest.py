"""A real, tiny Stable Diffusion pipeline with random weights, made once a run."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

# So small a model is slowed down by more threads, and much so where the cores are busy.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

diffusers: Any = importlib.import_module("diffusers")  # it and transformers are typed in part only
transformers: Any = importlib.import_module("transformers")


def _tokenizer(folder: Path) -> Any:
    """CLIP's byte-level scheme with letters only: enough for any prompt of a test."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = [*tokens, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=16)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as `save_pretrained` writes it; its own size is 64 by 64 pixels."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(tmp_path_factory.mktemp("tokenizer"))
    pipeline = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4, 4, 4, 4),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=1,
            sample_size=64,
        ),
        text_encoder=transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=16,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.eos_token_id,
            )
        ),
        tokenizer=tokenizer,
        unet=diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=2,
        ),
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    path = tmp_path_factory.mktemp("model")
    pipeline.save_pretrained(path)
    return path
