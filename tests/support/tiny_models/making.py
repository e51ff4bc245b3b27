"""Makes the tiny models: ``python making.py FOLDER``."""

import importlib
import json
import shutil
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


_SIDE = 8
"""Pixels of a checker's input, which is one patch of its model."""
_COLOURS = 4
"""The width of a checker's vectors: red, green and blue, and one that is 0."""
_RED = torch.tensor([1.25, -0.75, -0.75, 0.25])
"""A red picture's vector (1, -1, -1, 0) without its mean, as a layer's norm leaves it."""


def _judge_by_mean_colour(model: Any) -> None:
    """Sets weights so that the vector of a picture is its mean colour.

    The one patch becomes (red, green, blue, 0), attention adds it to the class's empty token, and
    everything else adds nothing.
    """
    for name, weights in model.named_parameters():
        is_norm = "norm" in name and name.endswith("weight")
        torch.nn.init.constant_(weights, 1.0 if is_norm else 0.0)
        if any(part in name for part in ("v_proj.weight", "o_proj.weight", "out_proj.weight")):
            torch.nn.init.eye_(weights)
        if "patch_embedding" in name and weights.dim() == 4:
            for colour in range(3):
                weights.data[colour, colour] = 1 / _SIDE**2


def _processor(kind: Any) -> Any:
    size = {"height": _SIDE, "width": _SIDE}
    halves = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return kind(size=size, crop_size=size, **halves)


def make_checked(folder: Path, model: Path) -> None:
    """The model with a checker of the class that Stable Diffusion comes with."""
    shutil.copytree(model, folder)
    safety: Any = importlib.import_module("diffusers.pipelines.stable_diffusion.safety_checker")
    vision = {
        "hidden_size": _COLOURS,
        "intermediate_size": _COLOURS,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": _SIDE,
        "patch_size": _SIDE,
    }
    config = transformers.CLIPConfig(vision_config=vision, projection_dim=_COLOURS)
    checker = safety.StableDiffusionSafetyChecker(config)
    _judge_by_mean_colour(checker.vision_model)
    torch.nn.init.eye_(checker.visual_projection.weight)
    checker.concept_embeds.data[:] = _RED
    # No picture is nearer to a concept than 1.
    checker.concept_embeds_weights.data[:] = 2.0
    checker.concept_embeds_weights.data[0] = 0.9
    checker.special_care_embeds_weights.data[:] = 2.0
    checker.save_pretrained(folder / "safety_checker")
    _processor(transformers.CLIPImageProcessor).save_pretrained(folder / "feature_extractor")
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))


def make_classifier(folder: Path) -> None:
    config = transformers.ViTConfig(
        hidden_size=_COLOURS,
        intermediate_size=_COLOURS,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=_SIDE,
        patch_size=_SIDE,
        id2label={0: "normal", 1: "nsfw"},
        label2id={"normal": 0, "nsfw": 1},
    )
    classifier = transformers.ViTForImageClassification(config)
    _judge_by_mean_colour(classifier)
    classifier.classifier.weight.data[1] = _RED
    # Halfway between a red picture's product with itself and the next one's.
    classifier.classifier.bias.data[0] = 2.0
    classifier.save_pretrained(folder)
    _processor(transformers.ViTImageProcessor).save_pretrained(folder)


def main(folder: Path) -> None:
    make_model(folder / "sd")
    make_xl_model(folder / "xl")
    make_loras(folder / "loras", folder / "sd")
    make_checked(folder / "checked", folder / "sd")
    make_classifier(folder / "classifier")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
