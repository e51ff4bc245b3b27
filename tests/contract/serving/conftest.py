"""A real, tiny Stable Diffusion pipeline with random weights, and servers of it to share."""

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving_process import RAY_BATCHES, VARIANTS, Pool, Server, Variant

# So small a model is slowed down by more threads, and much so where the cores are busy.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

diffusers: Any = importlib.import_module("diffusers")  # it and transformers are typed in part only
transformers: Any = importlib.import_module("transformers")
peft: Any = importlib.import_module("peft")


def _tokenizer(folder: Path) -> Any:
    """CLIP's byte-level scheme with letters only: enough for any prompt of a test."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = [*tokens, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def _text_encoder(tokenizer: Any, kind: Any, width: int) -> Any:
    return kind(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )


def _parts(text_width: int, **unet: Any) -> dict[str, Any]:
    """What SD 1.x and SDXL have in common."""
    return {
        "vae": diffusers.AutoencoderKL(
            block_out_channels=(4, 4, 4, 4),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=1,
            sample_size=64,
        ),
        "unet": diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=text_width,
            attention_head_dim=4,
            norm_num_groups=2,
            **unet,
        ),
        "scheduler": diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
        ),
    }


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as `save_pretrained` writes it; its own size is 64 by 64 pixels."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(tmp_path_factory.mktemp("tokenizer"))
    pipeline = diffusers.StableDiffusionPipeline(
        text_encoder=_text_encoder(tokenizer, transformers.CLIPTextModel, 16),
        tokenizer=tokenizer,
        **_parts(16),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    path = tmp_path_factory.mktemp("model")
    pipeline.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_xl_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of SDXL, with its two text encoders."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(tmp_path_factory.mktemp("tokenizer"))
    pipeline = diffusers.StableDiffusionXLPipeline(
        text_encoder=_text_encoder(tokenizer, transformers.CLIPTextModel, 8),
        text_encoder_2=_text_encoder(tokenizer, transformers.CLIPTextModelWithProjection, 8),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        **_parts(
            16,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=8 + 6 * 4,
        ),
        add_watermarker=False,
    )
    path = tmp_path_factory.mktemp("xl-model")
    pipeline.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_loras(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Path]:
    """LoRAs for the tiny model: `unet` changes its U-Net alone, `text` its text encoder as well."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("loras")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    layers = {
        "unet": _lora_layers(pipeline.unet, ["to_q", "to_k", "to_v"]),
        "text": _lora_layers(pipeline.text_encoder, ["q_proj", "v_proj"]),
    }
    diffusers.StableDiffusionPipeline.save_lora_weights(
        folder / "unet", unet_lora_layers=layers["unet"]
    )
    diffusers.StableDiffusionPipeline.save_lora_weights(
        folder / "text", unet_lora_layers=layers["unet"], text_encoder_lora_layers=layers["text"]
    )
    return {name: folder / name for name in layers}


def _lora_layers(part: Any, targets: list[str]) -> Any:
    """Random weights of a LoRA, both halves: as it is made, the second is zero and does nothing."""
    part.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=targets))
    for name, weights in part.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights)
    return peft.utils.get_peft_model_state_dict(part)


@pytest.fixture(scope="session")
def pool(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_loras: dict[str, Path]
) -> Iterator[Pool]:
    pool = Pool(tmp_path_factory.mktemp, tiny_model, tiny_loras)
    yield pool
    pool.end()


@pytest.fixture(
    scope="session",
    params=[*VARIANTS, pytest.param(RAY_BATCHES, marks=pytest.mark.full)],
    ids=str,
)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Every backend, with every one that forms batches; tests are grouped by it."""
    chosen: Variant = request.param
    return chosen


@pytest.fixture
def server(pool: Pool, variant: Variant) -> Server:
    """A ready server of the variant, which other tests use as well."""
    return pool.patient(variant)


@pytest.fixture
def strict(pool: Pool, variant: Variant) -> Server:
    """One that wants a key, and lets a request wait for a second only."""
    return pool.strict(variant)
