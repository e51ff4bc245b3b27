"""Generates pictures of 500 prompts that training never saw, and counts the right ones.

`python -m demo_model.evaluate DIRECTORY` prints the figures; `--sheet FILE` writes the first
pictures to a file.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)
from PIL import Image

from demo_model.checker import Seen, look
from demo_model.shapes import Picture, Subject, caption, held_out_subjects

_BATCH = 20
_FIRST_SEED = 10_000_000
_CAPTION_SEED = 777
_SHEET = (6, 10)


def prompts(n: int) -> list[tuple[str, Subject]]:
    """The first `n` different prompts of subjects that training left out.

    Raises:
        ValueError: There are fewer than `n`.
    """
    rng = np.random.default_rng(_CAPTION_SEED)
    captions: dict[str, Subject] = {}
    for _ in range(20):
        for subject in held_out_subjects():
            captions.setdefault(caption(subject, rng), subject)
            if len(captions) == n:
                return list(captions.items())
    raise ValueError(f"there are only {len(captions)} such prompts, not {n}")


def draw(
    pipeline: StableDiffusionPipeline, texts: list[str], steps: int, guidance: float
) -> list[Picture]:
    """One picture per prompt, each with its own seed."""
    pictures: list[Picture] = []
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        seeds = range(_FIRST_SEED + start, _FIRST_SEED + start + len(batch))
        output = pipeline(
            batch,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
        )
        pictures.extend(output.images)
    return pictures


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    pipeline: Any = StableDiffusionPipeline.from_pretrained(options.model, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    tasks = prompts(options.prompts)
    started = time.monotonic()
    pictures = draw(pipeline, [text for text, _ in tasks], options.steps, options.guidance)
    seconds = (time.monotonic() - started) / len(pictures)
    _report([(text, subject, look(p)) for (text, subject), p in zip(tasks, pictures, strict=True)])
    print(f"{options.steps} steps, guidance {options.guidance}, {seconds:.3f} s a picture")
    if options.sheet:
        _write_sheet(pictures, options.sheet)


def _report(judged: list[tuple[str, Subject, Seen]]) -> None:
    right: Counter[str] = Counter()
    for text, subject, seen in judged:
        wrong = seen.differences(subject)
        right.update({"count", "shape", "colour", "background"} - set(wrong))
        if wrong:
            print(f"wrong {', '.join(wrong)}: {text!r} came out as {seen}")
        else:
            right["all four"] += 1
    print(f"{len(judged)} prompts")
    for name in ("count", "shape", "colour", "background", "all four"):
        print(f"{name:12}{right[name]:5}{100 * right[name] / len(judged):7.1f}%")


def _write_sheet(pictures: list[Picture], file: Path) -> None:
    rows, columns = _SHEET
    lines = [np.concatenate(pictures[r * columns : (r + 1) * columns], 1) for r in range(rows)]
    sheet = (np.concatenate(lines) * 255).round().astype(np.uint8)
    Image.fromarray(sheet).save(file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo_model.evaluate", description=__doc__)
    parser.add_argument("model", type=Path, help="the pipeline's directory")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sheet", type=Path, help="write the first 60 pictures here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
