"""The pipeline alone, in the program's own settings: ``python -m serving.bare --help``.

Prints images/s for each batch size, and the median of a call for one image.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from diffusion_serving.config import ServingConfig
from diffusion_serving.generation import Generation, Pipeline
from diffusion_serving.model_files import inspect
from serving.prompts import GUIDANCE, SIDE, STEPS, prompt
from serving.stand_in import StandIn


@dataclass(frozen=True)
class Bare:
    images_per_second: dict[int, float]
    p50: float

    @property
    def best(self) -> float:
        return max(self.images_per_second.values())


def _wanted(number: int) -> Generation:
    return Generation(prompt(number), "", STEPS, GUIDANCE, SIDE, SIDE, (number,))


def _seconds(pipeline: Pipeline, size: int, seconds: float) -> list[float]:
    """The length of each call over that time, after one that is not counted."""
    pipeline([_wanted(number) for number in range(size)])
    lengths: list[float] = []
    number, end = 0, time.monotonic() + seconds
    while not lengths or time.monotonic() < end:
        batch = [_wanted(number + place) for place in range(size)]
        number += size
        begin = time.monotonic()
        pipeline(batch)
        lengths.append(time.monotonic() - begin)
    return lengths


def measure(pipeline: Pipeline, sizes: list[int], seconds: float) -> Bare:
    lengths = {size: _seconds(pipeline, size, seconds) for size in sizes}
    return Bare(
        {size: size * len(each) / sum(each) for size, each in lengths.items()},
        statistics.median(lengths[1]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.bare", description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--stand-in", type=float, help="seconds a batch, instead of a model")
    parser.add_argument("--cap", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each batch size")
    flags = parser.parse_args()
    pipeline: Pipeline
    if flags.stand_in is not None:
        pipeline = StandIn(flags.stand_in)
    else:
        from diffusion_serving.pipeline import load_pipeline  # noqa: PLC0415 - takes seconds

        config = ServingConfig.model_validate({"model": {"path": flags.model}})
        pipeline = load_pipeline(inspect(flags.model), config)
    sizes = [size for size in (1, 2, 4, 8, 16, 32) if size <= flags.cap]
    print(json.dumps(asdict(measure(pipeline, sizes, flags.seconds))))


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the program does
    main()
