"""Turns of all subjects on one machine, each compared with the pipeline alone.

A machine's speed varies: the demo model's pipeline alone moved between 14.5 and 19.3 images/s
within one run. So no figure is compared with one that was taken minutes before. All subjects are
up, but only one computes at a time: the others' processes are stopped. In each round every subject
has one short turn, in another order, and the pipeline alone is measured before and after it.
"""

import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from serving.alone import alone
from serving.bare import Bare
from serving.client import Load
from serving.subjects import Conditions, NotUp, Subject, client_output, started

SWEEP_SECONDS = 4.0
"""The seconds for each batch size in the search for the best one."""


@dataclass(frozen=True)
class Plan:
    """The plan of the turns.

    `sizes` are the batch sizes of the pipeline alone; the best of them is measured before and after
    each turn, for `bare_seconds`.
    """

    users: int
    sizes: Sequence[int]
    rounds: int
    load_seconds: float
    bare_seconds: float


@dataclass(frozen=True)
class Turn:
    """A subject's turn, and the pipeline alone: the mean of its figures before and after."""

    load: Load
    bare_rate: float
    """Images/s."""
    bare_p50: float
    """Seconds per call."""

    @property
    def share(self) -> float:
        """The subject's rate as a share of the bare pipeline's."""
        return self.load.requests_per_second / self.bare_rate

    @property
    def added_ms(self) -> float:
        """A user's latency beyond a bare call's."""
        return (self.load.p50 - self.bare_p50) * 1000


@dataclass(frozen=True)
class Seen:
    """The results of all rounds."""

    sizes: Mapping[int, float]
    """Images/s of the pipeline alone by batch size, before the first turn."""
    turns: Mapping[str, Sequence[Turn]]
    """The turns by subject, one for each round; a subject that failed has no entry."""
    failures: Mapping[str, str]
    """The reasons by subject."""


def take_turns(conditions: Conditions, subjects: Sequence[str], plan: Plan) -> Seen:
    """Starts all subjects, and measures each once in each round."""
    turns: dict[str, list[Turn]] = {}
    failures: dict[str, str] = {}
    up: dict[str, Subject] = {}

    def fail(name: str, error: NotUp) -> None:
        show(f"{name}, {conditions.name}: {error}")
        failures[name] = str(error)
        turns.pop(name, None)
        up.pop(name, None)

    with ExitStack() as stack:
        pipeline = stack.enter_context(alone(conditions))
        sizes = pipeline.measure(plan.sizes, SWEEP_SECONDS).images_per_second
        show(f"bare, {conditions.name}: {sizes}")
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
                show(f"{name}, {conditions.name}: {turns[name][-1]}")
                before = after
    return Seen(sizes, turns, failures)


def _in_an_order_of(number: int, names: Sequence[str]) -> Sequence[str]:
    """The names in random order; the order of a number is always the same."""
    return random.Random(number).sample(names, len(names))  # noqa: S311 - no secret


def turn_of(load: Load, before: Bare, after: Bare, size: int) -> Turn:
    around = (before, after)
    return Turn(
        load,
        sum(bare.images_per_second[size] for bare in around) / 2,
        sum(bare.p50[size] for bare in around) / 2,
    )


def load_by_users(port: int, plan: Plan) -> Load:
    """The load of `plan.users` users on a port.

    Raises:
        NotUp: No request was answered.
    """
    flags = ("--port", str(port), "--users", str(plan.users), "--seconds", str(plan.load_seconds))
    load = Load(**client_output("serving.client", *flags))
    if not load.requests_per_second:
        raise NotUp(f"no answer within {plan.load_seconds:g} s; {load.failures} failures")
    return load


def show(line: str) -> None:
    """Shows the progress."""
    print(line, file=sys.stderr, flush=True)
