"""Makes the tiny models: ``python making.py FOLDER``."""

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

diffusers: Any = importlib.import_module("diffusers")  # mypy knows only parts of these packages
transformers: Any = importlib.import_module("transformers")
peft: Any = importlib.import_module("peft")


def _tokenizer(folder: Path) -> Any:
    """A tokenizer of CLIP's byte-level scheme with single letters only, enough for the tests."""
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
    """The parts that SD 1.x and SDXL have in common."""
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


def make_model(path: Path) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer(Path(folder))
    pipeline = diffusers.StableDiffusionPipeline(
        text_encoder=_text_encoder(tokenizer, transformers.CLIPTextModel, 16),
        tokenizer=tokenizer,
        **_parts(16),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(path)


def make_xl_model(path: Path) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer(Path(folder))
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
    pipeline.save_pretrained(path)


def make_loras(folder: Path, model: Path) -> None:
    torch.manual_seed(1)
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
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


def _lora_layers(part: Any, targets: list[str]) -> Any:
    """Random weights for both halves of a LoRA; a new LoRA's second half is 0 and has no effect."""
    part.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=targets))
    for name, weights in part.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights)
    return peft.utils.get_peft_model_state_dict(part)


def main(folder: Path) -> None:
    make_model(folder / "sd")
    make_xl_model(folder / "xl")
    make_loras(folder / "loras", folder / "sd")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
