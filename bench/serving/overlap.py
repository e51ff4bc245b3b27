"""Whether decoding a batch while the next is denoised pays: ``python -m serving.overlap --help``.

Prints images/s of full batches one after the other, and of the same with decoding on a thread of
its own, in turns.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from serving.prompts import GUIDANCE, SIDE, STEPS, prompt

Latents = Any
Step = Callable[[int], Latents]
Decode = Callable[[Latents], Any]


def one_after_the_other(denoise: Step, decode: Decode, batches: int) -> None:
    for number in range(batches):
        decode(denoise(number))


def overlapped(denoise: Step, decode: Decode, batches: int) -> None:
    """Decodes each batch while the next is denoised."""
    with ThreadPoolExecutor(1) as thread:
        before: Future[Any] | None = None
        for number in range(batches):
            latents = denoise(number)
            if before is not None:
                before.result()
            before = thread.submit(decode, latents)
        if before is not None:
            before.result()


def parts(model: Path, cap: int) -> tuple[Step, Decode]:
    """The two halves of a batch's call, as diffusers has them."""
    import torch  # noqa: PLC0415 - takes seconds

    diffusers: Any = import_module("diffusers")  # it is typed in part only
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)

    def denoise(number: int) -> Latents:
        numbers = range(number * cap, (number + 1) * cap)
        return pipe(
            [prompt(each) for each in numbers],
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            width=SIDE,
            height=SIDE,
            generator=[torch.Generator().manual_seed(each) for each in numbers],
            output_type="latent",
        ).images

    @torch.inference_mode()
    def decode(latents: Latents) -> Any:
        pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
        return pixels.cpu()

    return denoise, decode


def measure(
    denoise: Step, decode: Decode, *, cap: int, batches: int, turns: int
) -> Mapping[str, Sequence[float]]:
    """Images/s of each way, once a turn."""
    ways = (one_after_the_other, overlapped)
    decode(denoise(0))
    rates: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for _ in range(turns):
        for way in ways:
            begin = time.monotonic()
            way(denoise, decode, batches)
            rates[way.__name__].append(cap * batches / (time.monotonic() - begin))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.overlap", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cap", type=int, default=8)
    parser.add_argument("--batches", type=int, default=15, help="in each turn")
    parser.add_argument("--turns", type=int, default=4)
    flags = parser.parse_args()
    rates = measure(
        *parts(flags.model, flags.cap), cap=flags.cap, batches=flags.batches, turns=flags.turns
    )
    print(json.dumps(dict(rates)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the program does
    main()
