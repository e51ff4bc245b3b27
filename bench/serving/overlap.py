"""Measures the gain of decoding a batch during the next: ``python -m serving.overlap --help``.

The program generates the same batches in several ways, in turns. For each it prints a line:
images/s, processor time, page faults, and the difference of the pictures from those of the first
way, which must be 0. One way decodes on another thread without overlapping, because a thread has
its own memory and its own helper threads. Another overlaps with half of the cores for each part, so
that both parts together have as many threads as one part alone.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

from diffusion_serving.engine.cpu_cores import available_cores
from serving.prompts import GUIDANCE, SIDE, STEPS, prompt

Latents = Any
Step = Callable[[int], Latents]
Decode = Callable[[Latents], Any]


@dataclass(frozen=True)
class Way:
    """A way to generate batches; `threads` are torch's, for denoising and for decoding."""

    name: str
    make: Callable[[Step, Decode, int, int], list[Any]]
    threads: tuple[int, int]


@dataclass(frozen=True)
class Seen:
    """The figures of one turn; processor seconds and page faults are per batch."""

    way: str
    images_per_second: float
    user_seconds: float
    system_seconds: float
    page_faults: float
    difference: float


def on_one_thread(denoise: Step, decode: Decode, batches: int, _: int) -> list[Any]:
    return [decode(denoise(number)) for number in range(batches)]


def on_two_threads(denoise: Step, decode: Decode, batches: int, threads: int) -> list[Any]:
    """Decodes each batch on another thread, and waits for it."""
    with _decoder(threads) as decoder:
        return [decoder.submit(decode, denoise(number)).result() for number in range(batches)]


def overlapped(denoise: Step, decode: Decode, batches: int, threads: int) -> list[Any]:
    """Decodes each batch while the next is denoised."""
    pictures: list[Future[Any]] = []
    with _decoder(threads) as decoder:
        for number in range(batches):
            latents = denoise(number)
            if pictures:
                pictures[-1].result()
            pictures.append(decoder.submit(decode, latents))
        return [each.result() for each in pictures]


def _decoder(threads: int) -> ThreadPoolExecutor:
    import torch  # noqa: PLC0415 - takes seconds

    return ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))


def ways(cores: int) -> list[Way]:
    half = max(1, cores // 2)
    return [
        Way("one thread", on_one_thread, (cores, cores)),
        Way("one thread, half of the cores", on_one_thread, (half, half)),
        Way("two threads, not overlapped", on_two_threads, (cores, cores)),
        Way("overlapped, all cores each", overlapped, (cores, cores)),
        Way("overlapped, half of the cores each", overlapped, (half, half)),
    ]


def parts(model: Path, cap: int) -> tuple[Step, Decode]:
    """The two parts of a batch's call, taken from diffusers: denoising and decoding."""
    import torch  # noqa: PLC0415 - takes seconds

    diffusers: Any = import_module("diffusers")  # diffusers is typed in part only
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


def measure(way: Way, denoise: Step, decode: Decode, cap: int, batches: int) -> tuple[Seen, Any]:
    """The figures of one turn, and its pictures."""
    import torch  # noqa: PLC0415 - takes seconds

    torch.set_num_threads(way.threads[0])
    before, begin = getrusage(RUSAGE_SELF), time.monotonic()
    pictures = way.make(denoise, decode, batches, way.threads[1])
    seconds, after = time.monotonic() - begin, getrusage(RUSAGE_SELF)
    seen = Seen(
        way.name,
        cap * batches / seconds,
        (after.ru_utime - before.ru_utime) / batches,
        (after.ru_stime - before.ru_stime) / batches,
        (after.ru_minflt - before.ru_minflt) / batches,
        0.0,
    )
    return seen, pictures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.overlap", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cap", type=int, default=8)
    parser.add_argument("--batches", type=int, default=6, help="in each turn")
    parser.add_argument("--turns", type=int, default=3)
    flags = parser.parse_args()
    denoise, decode = parts(flags.model, flags.cap)
    first = on_one_thread(denoise, decode, flags.batches, 0)
    for _ in range(flags.turns):
        for way in ways(available_cores()):
            seen, pictures = measure(way, denoise, decode, flags.cap, flags.batches)
            apart = max(float((a - b).abs().max()) for a, b in zip(first, pictures, strict=True))
            print(json.dumps(asdict(replace(seen, difference=apart))), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the serving program
    main()
