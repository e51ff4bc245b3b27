"""Everybody takes turns on one machine, and each turn stands beside the pipeline's own.

A machine is not always equally fast: the demo model's pipeline alone was seen to move between 14.5
and 19.3 images/s within one run. So nobody's figure is held against one that was taken minutes
before. All subjects are up, but only one computes at a time: the others' processes are stopped. In
each round everybody has one short turn, in another order, and the pipeline alone is measured
before and after it.
"""

import json
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from serving.alone import alone
from serving.bare import Bare
from serving.client import Load
from serving.subjects import ROOT, Conditions, NotUp, Subject, environment, started

SWEEP_SECONDS = 4.0
"""For each batch size, to find the best."""


@dataclass(frozen=True)
class Plan:
    """What one turn is.

    `sizes` are the batch sizes of the pipeline alone: the best of them is measured around each
    turn, for `bare_seconds`.
    """

    users: int
    sizes: Sequence[int]
    rounds: int
    load_seconds: float
    bare_seconds: float


@dataclass(frozen=True)
class Turn:
    """A subject's, and the pipeline alone around it, each figure the mean of before and after."""

    load: Load
    bare_rate: float
    """Images/s."""
    bare_p50: float
    """Seconds of a call."""

    @property
    def share(self) -> float:
        """Of what the pipeline alone makes."""
        return self.load.requests_per_second / self.bare_rate

    @property
    def added_ms(self) -> float:
        """What a user waits beyond a call."""
        return (self.load.p50 - self.bare_p50) * 1000


@dataclass(frozen=True)
class Seen:
    """What came of all rounds."""

    sizes: Mapping[int, float]
    """Images/s of the pipeline alone by batch size, before the first turn."""
    turns: Mapping[str, Sequence[Turn]]
    """By subject, one for each round. Of one that failed there is nothing."""
    failures: Mapping[str, str]
    """By subject, why."""


def take_turns(conditions: Conditions, subjects: Sequence[str], plan: Plan) -> Seen:
    """Starts everybody, and has each measured once in each round."""
    turns: dict[str, list[Turn]] = {}
    failures: dict[str, str] = {}
    up: dict[str, Subject] = {}

    def fail(name: str, error: NotUp) -> None:
        tell(f"{name}, {conditions.name}: {error}")
        failures[name] = str(error)
        turns.pop(name, None)
        up.pop(name, None)

    with ExitStack() as stack:
        pipeline = stack.enter_context(alone(conditions))
        sizes = pipeline.measure(plan.sizes, SWEEP_SECONDS).images_per_second
        tell(f"bare, {conditions.name}: {sizes}")
        best = max(sizes, key=lambda size: sizes[size])
        for name in subjects:
            try:
                up[name] = stack.enter_context(started(name, conditions))
            except NotUp as error:
                fail(name, error)
        for number in range(plan.rounds):
            before = pipeline.measure([best], plan.bare_seconds)
            for name in _in_an_order_of(number, sorted(up)):
                try:
                    with up[name].awake():
                        load = load_by_users(up[name].port, plan)
                except NotUp as error:
                    fail(name, error)
                    continue
                after = pipeline.measure([best], plan.bare_seconds)
                turns.setdefault(name, []).append(turn_of(load, before, after, best))
                tell(f"{name}, {conditions.name}: {turns[name][-1]}")
                before = after
    return Seen(sizes, turns, failures)


def _in_an_order_of(number: int, names: Sequence[str]) -> Sequence[str]:
    """The same one whenever it is asked for."""
    return random.Random(number).sample(names, len(names))  # noqa: S311 - no secret


def turn_of(load: Load, before: Bare, after: Bare, size: int) -> Turn:
    around = (before, after)
    return Turn(
        load,
        sum(bare.images_per_second[size] for bare in around) / 2,
        sum(bare.p50[size] for bare in around) / 2,
    )


def load_by_users(port: int, plan: Plan) -> Load:
    """What users see for so long.

    Raises:
        NotUp: nothing was answered.

    """
    flags = ("--port", str(port), "--users", str(plan.users), "--seconds", str(plan.load_seconds))
    done = subprocess.run(
        [sys.executable, "-m", "serving.client", *flags],
        cwd=ROOT,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise NotUp(f"its clients ended: {(done.stderr.splitlines() or [''])[-1][:300]}")
    load = Load(**json.loads(done.stdout))
    if not load.requests_per_second:
        raise NotUp(f"no answer within {plan.load_seconds:g} s; {load.failures} failures")
    return load


def tell(line: str) -> None:
    """Shows how far it is."""
    print(line, file=sys.stderr, flush=True)
