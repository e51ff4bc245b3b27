"""The time that a safety checker adds to the answers of requests that it passes.

An engine with a checker and one without take turns in one process, in another order each time, so
that other programs on the machine slow down both.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

from diffusion_serving.documents.serving_config import Defaults, ServingConfig
from diffusion_serving.engine import Engine
from diffusion_serving.engine.errors import PicturesBlocked
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.engine_process.startup import Load, load_model, make_engine
from diffusion_serving.observability.device_calls import DeviceCalls
from diffusion_serving.observability.metrics import make_metrics
from figures import Figure
from serving.stepped_stand_in import StepCost, SteppedStandIn
from serving.subjects import MODEL
from tiny_models import tiny_models

ROUNDS = 5
USERS = 4
REQUESTS = 12
"""Requests of each user in a turn."""
GOAL = 1.05
STEP = StepCost(0.125)
CHECK_SECONDS = 0.01
"""The seconds of a check on the stand-in: SD 1.4's own takes about a fiftieth of four steps."""
BLOCKED = 4
"""The checker of the stand-in blocks one of so many pictures."""


class SleepingChecker:
    """A checker that takes its time, and blocks every fourth picture."""

    name = "sleeping"

    def __init__(self) -> None:
        self._seen = count(1)

    def __call__(self, pictures: Sequence[Picture]) -> list[bool]:
        time.sleep(CHECK_SECONDS)
        return [next(self._seen) % BLOCKED == 0 for _ in pictures]


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """The median latency with a checker as a multiple of that without, for each kind of model."""
    stand_in = {"model": {"path": "/stand-in"}}
    demo: dict[str, Any] = {"model": {"path": str(MODEL)}}
    classifier = {"checker": {"path": str(tiny_models().classifier)}}
    return [
        _overhead(
            "stand-in",
            (stand_in, partial(_stand_in, None)),
            (stand_in, partial(_stand_in, SleepingChecker())),
            rounds,
        ),
        _overhead(
            "demo model",
            (demo | {"safety": {"checker": "None"}}, load_model),
            (demo | {"safety": classifier}, load_model),
            rounds,
        ),
    ]


def _stand_in(checker: SleepingChecker | None, _: ServingConfig, __: int) -> SteppedStandIn:
    pipeline = SteppedStandIn(STEP, has_steps=True)
    pipeline.checker = checker
    return pipeline


def _overhead(
    subject: str,
    unchecked: tuple[dict[str, Any], Load],
    checked: tuple[dict[str, Any], Load],
    rounds: int,
) -> Figure:
    ratios: list[float] = []
    plain: list[float] = []
    with _turns(*unchecked) as without, _turns(*checked) as with_checker:
        for number in range(rounds):
            order = (without, with_checker) if number % 2 else (with_checker, without)
            seconds = {turn: turn() for turn in order}
            plain.append(seconds[without])
            ratios.append(seconds[with_checker] / seconds[without])
    details = (
        f"{min(ratios):.3g} to {max(ratios):.3g} in {rounds} rounds of {USERS} users; without a "
        f"checker {1000 * statistics.median(plain):.0f} ms"
    )
    return Figure("safety-overhead", subject, statistics.median(ratios), "", GOAL, details)


@contextmanager
def _turns(document: dict[str, Any], load: Load) -> Iterator[Callable[[], float]]:
    """Starts an engine; each call is a turn, whose median latency in seconds it returns."""
    config = ServingConfig.model_validate(document)
    engine = make_engine(config, make_metrics(), DeviceCalls(), load)
    engine.start()
    defaults = Defaults.of(config.generation, engine.ready.result().pipeline.native_size)
    try:
        yield lambda: statistics.median(_latencies(engine, defaults))
    finally:
        engine.stop()


def _latencies(engine: Engine, defaults: Defaults) -> list[float]:
    """The seconds of each request that was not blocked, of a closed loop of users."""

    def user(number: int) -> list[float]:
        seeds = range(number * REQUESTS, (number + 1) * REQUESTS)
        return [seconds for seed in seeds if (seconds := _seconds(engine, defaults, seed))]

    with ThreadPoolExecutor(USERS) as users:
        return [seconds for each in users.map(user, range(USERS)) for seconds in each]


def _seconds(engine: Engine, defaults: Defaults, seed: int) -> float | None:
    """The latency of a request; None if its picture was blocked."""
    request = ImageRequest(
        "a red circle",
        "",
        defaults.steps,
        defaults.guidance_scale,
        defaults.width,
        defaults.height,
        (seed,),
    )
    begin = time.perf_counter()
    try:
        engine.submit(request).future.result()
    except PicturesBlocked:
        return None
    return time.perf_counter() - begin
