"""The pipeline alone, in the program's own settings: ``python -m serving.bare --help``.

Each line on stdin is JSON with batch `sizes` and the `seconds` for each. The program answers with a
line: images/s and the median length of a call for each size. Between two lines it is idle.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.fetch.model_files import inspect
from serving.prompts import GUIDANCE, SIDE, STEPS, prompt
from serving.stand_in import StandIn


@dataclass(frozen=True)
class Bare:
    """The pipeline's figures by batch size; `p50` is the median length of a call in seconds."""

    images_per_second: dict[int, float]
    p50: dict[int, float]


def _request(number: int) -> ImageRequest:
    return ImageRequest(prompt(number), "", STEPS, GUIDANCE, SIDE, SIDE, (number,))


def _seconds(pipeline: Pipeline, size: int, seconds: float) -> list[float]:
    """The length of each call during `seconds`, after a call that is not counted."""
    pipeline([_request(number) for number in range(size)])
    lengths: list[float] = []
    number, end = 0, time.monotonic() + seconds
    while not lengths or time.monotonic() < end:
        batch = [_request(number + place) for place in range(size)]
        number += size
        begin = time.monotonic()
        pipeline(batch)
        lengths.append(time.monotonic() - begin)
    return lengths


def measure(pipeline: Pipeline, sizes: Sequence[int], seconds: float) -> Bare:
    lengths = {size: _seconds(pipeline, size, seconds) for size in sizes}
    return Bare(
        {size: size * len(each) / sum(each) for size, each in lengths.items()},
        {size: statistics.median(each) for size, each in lengths.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.bare", description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--stand-in", type=float, help="seconds a batch, instead of a model")
    flags = parser.parse_args()
    pipeline: Pipeline
    if flags.stand_in is not None:
        pipeline = StandIn(flags.stand_in)
    else:
        from diffusion_serving.pipeline import load_pipeline  # noqa: PLC0415 - takes seconds

        config = ServingConfig.model_validate({"model": {"path": flags.model}})
        pipeline = load_pipeline(inspect(flags.model), config)
    for line in sys.stdin:
        print(json.dumps(asdict(measure(pipeline, **json.loads(line)))), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the serving program
    main()
