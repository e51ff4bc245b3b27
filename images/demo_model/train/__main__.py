"""Trains the demo model from random weights: `python -m demo_model.train --out DIRECTORY`.

All budgets are counted in steps, never in seconds, so that the same seed gives the same weights.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)

from demo_model.train.common import lay_out, make_deterministic
from demo_model.train.decoder import train_decoder
from demo_model.train.text import new_encoder, new_tokenizer, train_encoder
from demo_model.train.unet import Denoiser, make_examples, new_scheduler, rehearse, train_denoiser
from demo_model.train.vae import new_vae, train_vae

if TYPE_CHECKING:
    from collections.abc import Callable

_Module = TypeVar("_Module", bound=torch.nn.Module)


@dataclass
class Stages:
    """Runs stages, each with its own seed, so that a stage can run again without earlier ones."""

    seed: int
    work: Path | None
    """The folder that keeps the result of each stage, from which a second run takes it."""

    def run(
        self, name: str, make: Callable[[], _Module], train: Callable[[_Module], None]
    ) -> _Module:
        """Creates a module with `make`, trains it, and returns it ready for use."""
        make_deterministic(self.seed)
        self.seed += 1
        module = make()
        file = self.work / f"{name}.pt" if self.work else None
        if file and file.exists():
            print(f"{name}: taken from {file}", flush=True)
            module.load_state_dict(torch.load(file, weights_only=True))
        else:
            train(module.requires_grad_(requires_grad=True))
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                torch.save(module.state_dict(), file)
        return module.requires_grad_(requires_grad=False).eval()


def main() -> None:
    options = _options()
    started = time.monotonic()
    stages = Stages(options.seed, options.work)
    tokenizer = new_tokenizer()
    vae = stages.run("vae", new_vae, lambda m: train_vae(m, options.vae_steps))
    encoder = stages.run(
        "text",
        lambda: new_encoder(tokenizer),
        lambda m: train_encoder(m, tokenizer, options.text_steps),
    )
    examples = make_examples(vae, tokenizer)
    model = stages.run(
        "unet", lambda: Denoiser(encoder), lambda m: train_denoiser(m, examples, options.unet_steps)
    )
    # The published weights had two rounds: the second has a fresh optimiser and a high rate again.
    model = stages.run(
        "unet-again", lambda: model, lambda m: train_denoiser(m, examples, options.unet_again_steps)
    )
    model = stages.run(
        "rehearsal", lambda: model, lambda m: rehearse(m, examples, options.rehearsal_steps)
    )
    vae = stages.run(
        "decoder", lambda: vae, lambda m: train_decoder(m, model, tokenizer, options.decoder_steps)
    )

    for module in (vae, model.unet):
        lay_out(module, torch.contiguous_format)
    parts: dict[str, Any] = {
        "vae": vae,
        "text_encoder": model.encoder,
        "tokenizer": tokenizer,
        "unet": model.unet,
        "scheduler": new_scheduler(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    pipeline = StableDiffusionPipeline(**parts)
    pipeline.save_pretrained(options.out, safe_serialization=True)
    for file in options.out.rglob("*.safetensors"):
        # safetensors makes files private to their owner, but a container reads as another user.
        file.chmod(0o644)
    print(f"wrote {options.out} after {(time.monotonic() - started) / 60:.0f} minutes")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo_model.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the pipeline's directory")
    parser.add_argument("--work", type=Path, help="keep each stage here, and continue from here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vae-steps", type=int, default=600)
    parser.add_argument("--text-steps", type=int, default=300)
    parser.add_argument("--unet-steps", type=int, default=2000)
    parser.add_argument("--unet-again-steps", type=int, default=1600)
    parser.add_argument("--rehearsal-steps", type=int, default=100)
    parser.add_argument("--decoder-steps", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
