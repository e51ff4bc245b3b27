"""The figures of serving.

``PYTHONPATH=bench:tests/support:serving python -m serving.measure`` measures only these, and with
``--series steps model one-user --subjects fastapi`` those of the engine alone, in eight minutes at
most. The subjects are measured in turns, see `serving.turns`. A figure is the median over the
rounds, shown with the lowest and the highest.
"""

import argparse
import signal
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence

from figures import Figure, exit_code, failure, table
from serving import checks, marks, stepped
from serving.subjects import BACKENDS, PEERS, Conditions
from serving.turns import Plan, Seen, Turn, take_turns

DEMO = Conditions()
STAND_IN = Conditions(stand_in=0.5)
QUICK_STAND_IN = Conditions(stand_in=0.05)
"""The stand-in for the latency added to a call: a tenth of the time, with the same work around."""

EVERYBODY = (*BACKENDS, *PEERS)
RATIO_GOAL = 0.95
ADDED_GOAL_MS = 3.0


def measure(
    series: Sequence[str] | None = None, subjects: Sequence[str] = EVERYBODY
) -> list[Figure]:
    """The figures of serving, by default of all `SERIES` and all subjects."""
    return [figure for name in series or SERIES for figure in SERIES[name](subjects)]


def saturation(conditions: Conditions, rounds: int, subjects: Sequence[str]) -> list[Figure]:
    """Images/s of each subject at four users per image of the cap, beside the bare pipeline's."""
    sizes = [size for size in (1, 2, 4, 8, 16, 32) if size <= conditions.cap]
    plan = Plan(4 * conditions.cap, sizes, rounds, load_seconds=6.0, bare_seconds=3.0)
    seen = take_turns(conditions, subjects, plan)
    return [*_limit(seen, conditions), *shares(seen, conditions), *_failures(seen, conditions)]


def _limit(seen: Seen, conditions: Conditions) -> list[Figure]:
    limits = [turn.bare_rate for turns in seen.turns.values() for turn in turns]
    if not limits:
        return []
    sizes = ", ".join(f"{size}: {value:.1f}" for size, value in seen.sizes.items())
    against = f"{min(limits):.1f} to {max(limits):.1f}; by batch size {sizes}"
    name = f"bare pipeline's best, {conditions.name}"
    return [Figure(name, "pipeline", statistics.median(limits), "images/s", against=against)]


def shares(seen: Seen, conditions: Conditions) -> list[Figure]:
    """The images/s of each subject, absolute, as a share of the limit, and beside the best peer's.

    Each backend is compared with that peer round by round, each by its share of its own limit.
    """
    medians = {name: statistics.median(_shares(turns)) for name, turns in seen.turns.items()}
    best = max((name for name in medians if name in PEERS), key=medians.__getitem__, default=None)
    figures = []
    for name, turns in seen.turns.items():
        is_backend, subject = name in BACKENDS, f"{name}, {conditions.name}"
        rates = [turn.load.requests_per_second for turn in turns]
        failures = sum(turn.load.failures for turn in turns)
        cores = statistics.fmean(turn.load.client_cores for turn in turns)
        details = f"{_spread(rates)}; {failures} failures; the client took {cores:.2f} cores"
        figures += [
            Figure("served-at-saturation", subject, statistics.median(rates), "images/s",
                   against=details),
            Figure("served-over-bare", subject, medians[name], "",
                   goal=RATIO_GOAL if is_backend else None, at_least=True,
                   against=_spread(_shares(turns))),
        ]  # fmt: skip
        if is_backend and best is not None:
            pairs = zip(_shares(turns), _shares(seen.turns[best]), strict=True)
            beside = [own / other for own, other in pairs]
            figures.append(
                Figure("served-over-best-peer", subject, statistics.median(beside), "", goal=1.0,
                       at_least=True, against=f"{best}; {_spread(beside)}")
            )  # fmt: skip
    return figures


def _shares(turns: Sequence[Turn]) -> list[float]:
    return [turn.share for turn in turns]


def added_latency(conditions: Conditions, rounds: int, subjects: Sequence[str]) -> list[Figure]:
    """The latency of a single user beyond the bare call's."""
    plan = Plan(1, [1], rounds, load_seconds=5.0, bare_seconds=2.0)
    seen = take_turns(conditions, subjects, plan)
    figures = []
    for name, turns in seen.turns.items():
        added = [turn.added_ms for turn in turns]
        size = statistics.fmean(turn.load.answer_bytes for turn in turns) / 1000
        goal = ADDED_GOAL_MS if name in BACKENDS else None
        details = f"{_spread(added)}; answers of {size:.0f} KB"
        figures.append(Figure("added-p50", name, statistics.median(added), "ms", goal, details))
    return [*figures, *_failures(seen, conditions)]


def _failures(seen: Seen, conditions: Conditions) -> list[Figure]:
    name = f"comes up and answers, {conditions.name}"
    return [failure(name, subject, why) for subject, why in seen.failures.items()]


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g} in {len(values)} rounds"


SERIES: Mapping[str, Callable[[Sequence[str]], list[Figure]]] = {
    "model": lambda subjects: saturation(DEMO, 6, subjects),
    "stand-in": lambda subjects: saturation(STAND_IN, 3, subjects),
    "steps": stepped.measure,
    "one-user": lambda subjects: added_latency(QUICK_STAND_IN, 4, subjects),
    "marks": lambda _: marks.measure(),
    "checks": lambda _: checks.measure(),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.measure", description=__doc__)
    parser.add_argument("--series", nargs="+", choices=SERIES, help="all, if left out")
    parser.add_argument("--subjects", nargs="+", choices=EVERYBODY, default=EVERYBODY)
    flags = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that child processes are ended
    figures = measure(flags.series, flags.subjects)
    print(table(figures))
    return exit_code(figures)


if __name__ == "__main__":
    sys.exit(main())
