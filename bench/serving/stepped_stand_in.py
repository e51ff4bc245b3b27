"""A pipeline whose steps have a cost of their own, made step by step or as whole calls.

The stand-in sleeps and returns noise, like `serving.stand_in`. As whole calls it is the peer of the
same program: today's way for a pipeline that has no step loop.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, ImageState, OnStep, Picture
from serving.stand_in import NoDevice, noise


@dataclass(frozen=True)
class StepCost:
    """The seconds of a step: `fixed`, and `each` for every image in it."""

    fixed: float
    each: float = 0.0

    def seconds(self, images: int) -> float:
        return self.fixed + self.each * images

    @property
    def flag(self) -> str:
        return f"{self.fixed:g}+{self.each:g}"

    @classmethod
    def of(cls, flag: str) -> "StepCost":
        fixed, each = map(float, flag.split("+"))
        return cls(fixed, each)


@dataclass(eq=False)
class NoiseImage:
    """An image of which only the number of steps is real."""

    width: int
    height: int
    steps_left: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


class SteppedStandIn(NoDevice):
    """A pipeline of the engine; `stepwise` is None where only whole calls are to be made."""

    def __init__(self, cost: StepCost, *, has_steps: bool) -> None:
        self._cost = cost
        self.stepwise = self if has_steps else None

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        steps = batch[0].steps
        seconds = self._cost.seconds(sum(request.images for request in batch))
        for step in range(1, steps + 1):
            time.sleep(seconds)
            if on_step is not None:
                on_step(step, steps)
        return BatchOutput(
            pictures=[[noise(one.width, one.height) for _ in one.seeds] for one in batch],
            seconds={"text_encoder": 0.0, "denoise": steps * seconds, "vae": 0.0},
        )

    def begin(self, requests: Sequence[ImageRequest]) -> list[list[NoiseImage]]:
        return [
            [NoiseImage(one.width, one.height, one.steps) for _ in one.seeds] for one in requests
        ]

    def step(self, images: Sequence[ImageState]) -> None:
        time.sleep(self._cost.seconds(len(images)))
        for image in _own(images):
            image.steps_left -= 1

    def decode(self, images: Sequence[ImageState]) -> list[Picture]:
        return [noise(image.width, image.height) for image in _own(images)]


def _own(images: Sequence[ImageState]) -> list[NoiseImage]:
    return [image for image in images if isinstance(image, NoiseImage)]


def load(cost: StepCost, has_steps: bool, _: ServingConfig, __: int) -> SteppedStandIn:
    """A `startup.Load`, once its first two arguments are bound."""
    return SteppedStandIn(cost, has_steps=has_steps)
