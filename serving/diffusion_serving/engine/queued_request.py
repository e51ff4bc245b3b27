"""An image request inside the engine, and its result."""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from diffusion_serving.engine.errors import RequestError
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import ImageState, OnStep, Picture


@dataclass(frozen=True, slots=True)
class Result:
    """The images of one request, and the seconds it spent in each stage."""

    pictures: Sequence[Picture]
    queue_seconds: float
    text_encoder_seconds: float
    denoise_seconds: float
    vae_seconds: float
    safety_seconds: float | None = None
    """Seconds from the last pixel to the verdict of the safety checker; None without a checker."""
    blocked: tuple[int, ...] = ()
    """The places of the pictures that the safety checker blocked, which are blurred."""


Outcome = Result | RequestError
"""The end of one request: its images, or the reason why there are none."""


@dataclass(eq=False, slots=True)
class QueuedRequest:
    """An image request from its arrival in the engine to its outcome.

    Times are of `time.monotonic`. The images come from one or several calls of the pipeline;
    `pictures` has the finished ones, by their place in the request.
    """

    request: ImageRequest
    submitted: float
    deadline: float = math.inf
    on_step: OnStep | None = None
    future: Future[Result] = field(default_factory=Future)
    pictures: dict[int, Picture] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds in each stage so far."""
    steps_done: int = 0
    """Denoising steps of the calls that are done."""
    failure: RequestError | None = None
    abandoned: bool = False
    """Whether its client has left while it ran."""
    begun: float | None = None
    """The time at which it left the queue."""
    encoded: float = 0.0
    """The time at which its texts were encoded."""
    last_step: float = 0.0
    """The time at which its last step ended."""
    states: dict[int, ImageState] = field(default_factory=dict)
    """The images between text and pixels, by their place; only where steps are scheduled."""

    @property
    def undenoised(self) -> list[int]:
        """The places of the images that have steps left."""
        return [
            place
            for place in range(self.request.images)
            if place not in self.pictures and self.steps_left(place)
        ]

    @property
    def denoised(self) -> list[int]:
        """The places of the images that can be decoded."""
        return [place for place, state in self.states.items() if not state.steps_left]

    @property
    def work_left(self) -> int:
        """The pixels that are still to be computed."""
        steps = sum(self.steps_left(place) for place in self.undenoised)
        return steps * self.request.step_work

    def steps_left(self, place: int) -> int:
        """Returns the steps left of an image that has no picture yet."""
        state = self.states.get(place)
        return self.request.steps if state is None else state.steps_left

    def report_progress(self) -> None:
        """Reports a step each time that the images have made one step more on average."""
        images = self.request.images
        done = sum(
            self.request.steps - (0 if place in self.pictures else self.steps_left(place))
            for place in range(images)
        )
        if self.on_step is not None:
            while self.steps_done < done // images:
                self.steps_done += 1
                self.on_step(self.steps_done, self.request.steps)

    def report_step(self, step: int, images: int) -> None:
        """Reports a step of a call that generates `images` of this request's images."""
        if self.on_step is not None:
            calls = -(-(self.request.images - len(self.pictures)) // images)
            steps = self.steps_done + self.request.steps * calls
            self.on_step(self.steps_done + step, steps)

    def outcome(self) -> Outcome:
        """Returns the outcome, once every image is finished or the request has failed."""
        if self.failure is not None:
            return self.failure
        return Result(
            pictures=[self.pictures[place] for place in range(self.request.images)],
            queue_seconds=0.0,
            text_encoder_seconds=self.seconds["text_encoder"],
            denoise_seconds=self.seconds["denoise"],
            vae_seconds=self.seconds["vae"],
        )
