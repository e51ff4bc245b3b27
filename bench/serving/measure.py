"""The figures of serving: ``python -m serving.measure`` for these alone."""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from figures import Figure, table
from serving.bare import Bare
from serving.client import Load
from serving.subjects import BACKENDS, MODEL, PEERS, ROOT, Conditions, environment, started

DEMO = Conditions()
STAND_IN = Conditions(stand_in=0.5)
QUICK_STAND_IN = Conditions(stand_in=0.05)
"""For what a single user waits beyond the call: the same work around it in a tenth of the time."""

EVERYBODY = (*BACKENDS, *PEERS)
RATIO_GOAL = 0.95
ADDED_GOAL_MS = 5.0
SECONDS = 30.0
"""How long everybody is measured: full batches end together, so one more or less is 1.7%."""


def measure(
    series: Sequence[str] | None = None, subjects: Sequence[str] = EVERYBODY
) -> list[Figure]:
    """The figures of serving: all `SERIES` and everybody, if not told otherwise."""
    return [figure for name in series or SERIES for figure in SERIES[name](subjects)]


def saturation(conditions: Conditions, subjects: Sequence[str] = EVERYBODY) -> list[Figure]:
    """Images/s of everybody with four times the cap's users, beside the bare pipeline's best.

    A machine is not always equally fast, so the pipeline is measured alone before and after each
    subject, and the mean of these two is the subject's limit.
    """
    limits = [bare(conditions)]
    loads: dict[str, Load] = {}
    for subject in subjects:
        with started(subject, conditions) as port:
            loads[subject] = load(port, 4 * conditions.cap)
        _tell(f"{subject}, {conditions.name}: {loads[subject]}")
        limits.append(bare(conditions))
    each = [(before.best + after.best) / 2 for before, after in itertools.pairwise(limits)]
    shares = _shares(loads, dict(zip(loads, each, strict=True)), conditions)
    return [_limit(limits, conditions), *shares]


def _limit(limits: Sequence[Bare], conditions: Conditions) -> Figure:
    bests = [limit.best for limit in limits]
    found = max(limits, key=lambda limit: limit.best).images_per_second
    sizes = ", ".join(f"{size}: {value:.1f}" for size, value in found.items())
    return Figure(
        f"bare pipeline's best, {conditions.name}",
        "pipeline",
        statistics.fmean(bests),
        "images/s",
        against=f"{min(bests):.1f} to {max(bests):.1f}; by batch size {sizes}",
    )


def _shares(
    loads: Mapping[str, Load], limits: Mapping[str, float], conditions: Conditions
) -> list[Figure]:
    peers = [loads[peer].requests_per_second for peer in PEERS if peer in loads]
    best_peer = max(peers, default=None)
    figures = []
    for subject, seen in loads.items():
        rate = seen.requests_per_second
        of_ours = subject in BACKENDS
        told = f"{seen.failures} failures; the client took {seen.client_cores:.2f} cores"
        figures += [
            Figure(f"served at saturation, {conditions.name}", subject, rate, "images/s",
                   goal=best_peer if of_ours else None, at_least=True, against=told),
            Figure(f"served ÷ bare, {conditions.name}", subject, rate / limits[subject], "",
                   goal=RATIO_GOAL if of_ours else None, at_least=True,
                   against=f"{limits[subject]:.2f} images/s"),
        ]  # fmt: skip
    return figures


def added_latency(conditions: Conditions, subjects: Sequence[str] = EVERYBODY) -> list[Figure]:
    """What a lone user waits beyond the bare call."""
    call = bare(conditions).p50
    figures = []
    for subject in subjects:
        with started(subject, conditions) as port:
            seen = load(port, users=1)
        _tell(f"{subject}, one user, {conditions.name}: {seen}")
        added = (seen.p50 - call) * 1000
        goal = ADDED_GOAL_MS if subject in BACKENDS else None
        size = f"answers of {seen.answer_bytes / 1000:.0f} KB"
        figures.append(Figure("added p50 at one user", subject, added, "ms", goal, against=size))
    return figures


def bare(conditions: Conditions) -> Bare:
    what = ["--model", str(MODEL)]
    if conditions.stand_in is not None:
        what = ["--stand-in", str(conditions.stand_in)]
    seen = _module("serving.bare", *what, "--cap", str(conditions.cap))
    rates = {int(size): rate for size, rate in seen["images_per_second"].items()}
    _tell(f"bare, {conditions.name}: {rates}")
    return Bare(rates, seen["p50"])


def load(port: int, users: int) -> Load:
    flags = ("--port", str(port), "--users", str(users), "--seconds", str(SECONDS))
    return Load(**_module("serving.client", *flags))


def _module(name: str, *flags: str) -> dict[str, Any]:
    """What a program of this package prints."""
    done = subprocess.run(
        [sys.executable, "-m", name, *flags],
        cwd=ROOT,
        env=environment(),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


SERIES: Mapping[str, Callable[[Sequence[str]], list[Figure]]] = {
    "model": lambda subjects: saturation(DEMO, subjects),
    "stand-in": lambda subjects: saturation(STAND_IN, subjects),
    "one-user": lambda subjects: added_latency(QUICK_STAND_IN, subjects),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.measure", description=__doc__)
    parser.add_argument("--series", nargs="+", choices=SERIES, help="all, if left out")
    parser.add_argument("--subjects", nargs="+", choices=EVERYBODY, default=EVERYBODY)
    flags = parser.parse_args(arguments)
    print(table(measure(flags.series, flags.subjects)))


if __name__ == "__main__":
    main()
