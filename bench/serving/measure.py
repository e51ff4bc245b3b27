"""The figures of serving: ``python -m serving.measure`` for these alone."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from figures import Figure, table
from serving.bare import Bare
from serving.client import Load
from serving.subjects import BACKENDS, MODEL, PEERS, ROOT, Conditions, environment, started

DEMO = Conditions()
STAND_IN = Conditions(stand_in=0.5)
QUICK_STAND_IN = Conditions(stand_in=0.05)
"""For what a single user waits beyond the call: the same work around it in a tenth of the time."""

RATIO_GOAL = 0.95
ADDED_GOAL_MS = 5.0


def measure() -> list[Figure]:
    """All figures of serving."""
    return [
        *saturation(DEMO),
        *saturation(STAND_IN),
        *added_latency(QUICK_STAND_IN),
    ]


def saturation(conditions: Conditions) -> list[Figure]:
    """Images/s of everybody with four times the cap's users, beside the bare pipeline's best.

    The limit is measured before each subject, because a machine is not always equally fast; the
    best of all counts.
    """
    limits: list[Bare] = []
    loads: dict[str, Load] = {}
    for subject in (*BACKENDS, *PEERS):
        if subject in BACKENDS or not limits:
            limits.append(bare(conditions))
        with started(subject, conditions) as port:
            loads[subject] = load(port, 4 * conditions.cap)
        _tell(f"{subject}, {conditions.name}: {loads[subject]}")
    limit = max(limits, key=lambda each: each.best)
    return [*_limit(limit, conditions), *_shares(loads, limit, conditions)]


def _limit(limit: Bare, conditions: Conditions) -> list[Figure]:
    sizes = ", ".join(f"{size}: {value:.1f}" for size, value in limit.images_per_second.items())
    figure = f"bare pipeline's best, {conditions.name}"
    return [Figure(figure, "pipeline", limit.best, "images/s", against=f"by batch size {sizes}")]


def _shares(loads: dict[str, Load], limit: Bare, conditions: Conditions) -> list[Figure]:
    best_peer = max(loads[peer].requests_per_second for peer in PEERS)
    figures = []
    for subject, seen in loads.items():
        rate = seen.requests_per_second
        of_ours = subject in BACKENDS
        told = f"{seen.failures} failures; the client took {seen.client_cores:.2f} cores"
        figures += [
            Figure(f"served at saturation, {conditions.name}", subject, rate, "images/s",
                   goal=best_peer if of_ours else None, at_least=True, against=told),
            Figure(f"served ÷ bare, {conditions.name}", subject, rate / limit.best, "",
                   goal=RATIO_GOAL if of_ours else None, at_least=True),
        ]  # fmt: skip
    return figures


def added_latency(conditions: Conditions) -> list[Figure]:
    """What a lone user waits beyond the bare call."""
    call = bare(conditions).p50
    figures = []
    for subject in (*BACKENDS, *PEERS):
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
    return Load(**_module("serving.client", "--port", str(port), "--users", str(users)))


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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.measure", description=__doc__)
    parser.parse_args(arguments)
    print(table(measure()))


if __name__ == "__main__":
    main()
