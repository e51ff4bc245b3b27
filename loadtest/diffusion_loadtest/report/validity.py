"""May the figures be believed? Whether they are good is `slo`'s matter. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log

from diffusion_loadtest.measure.client_saturation import Second, saturation
from diffusion_loadtest.plan.load_plan import Slo
from diffusion_loadtest.report.load_report import RunError, Validity

MEASURED = "Measured"

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Witnessed:
    """What was seen of a run besides its samples; `busyness` has the seconds of each worker."""

    busyness: Sequence[Sequence[Second]]
    successes: int = 0
    median: float | None = None
    unsent: int = 0
    workers_lost: int = 0
    restarted: str | None = None
    changed: str | None = None
    warmup_requests: int = 0
    warmup_failures: int = 0


def validity(witnessed: Witnessed, slo: Slo | None, error: RunError | None) -> Validity:
    """The verdict; the first of several reasons against the figures is the weightiest."""
    if error is not None:
        return Validity(status=False, reason=error.reason, message=error.message)
    doubts = list(_doubts(witnessed, slo))
    if not doubts:
        message = f"{witnessed.successes} answers of one target by a client that kept up"
        return Validity(status=True, reason=MEASURED, message=message)
    (reason, message), *others = doubts
    return Validity(
        status=False, reason=reason, message=message, also=tuple(name for name, _ in others)
    )


def _doubts(witnessed: Witnessed, slo: Slo | None) -> Iterator[tuple[str, str]]:
    if witnessed.workers_lost:
        message = f"{witnessed.workers_lost} worker(s) went away, and with them what they had seen"
        yield "WorkerLost", message
    if witnessed.restarted is not None:
        yield "TargetRestarted", witnessed.restarted
    if witnessed.changed is not None:
        yield "TargetChanged", witnessed.changed
    if 0 < witnessed.warmup_requests == witnessed.warmup_failures:
        yield "WarmupFailed", f"all {witnessed.warmup_requests} requests of the warm-up failed"
    if (why := saturation(witnessed.busyness, witnessed.median, witnessed.unsent)) is not None:
        yield "ClientSaturated", f"{why}: set more workers, or give them more CPU"
    needed = needed_samples(slo)
    if witnessed.successes < needed:
        message = f"{witnessed.successes} successful requests are too few for its percentiles"
        yield "TooFewSamples", f"{message}, which need {needed}: let the test run longer"


def needed_samples(slo: Slo | None) -> int:
    """Successes below which a percentile is a guess: p95 is always shown, p99 counts in an slo.

    Of n samples the largest exceeds the quantile q with probability 1 - q^n (Wilks 1941); with
    fewer than make that 95%, there is no upper bound for the quantile at that confidence.
    """
    quantile = 0.99 if slo is not None and slo.p99_seconds is not None else 0.95
    return ceil(log(1 - _CONFIDENCE) / log(quantile))
