"""The verdict on credibility; whether the figures are good is `slo`'s. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diffusion_loadtest.measure.client_saturation import ClientUsage, saturation
from diffusion_loadtest.plan.load_plan import Slo
from diffusion_loadtest.report.intervals import NEEDED_FOR_P99, needed_draws
from diffusion_loadtest.report.load_report import RunError, Validity

MEASURED = "Measured"
TOO_FEW_SAMPLES = "TooFewSamples"
USERS_NOT_REACHED = "UsersNotReached"


@dataclass(frozen=True)
class Observations:
    """Observations of a run besides its samples; `client_usage` is by worker and second."""

    client_usage: Sequence[Sequence[ClientUsage]]
    successes: int = 0
    median: float | None = None
    unsent: int = 0
    workers_lost: int = 0
    target_restart: str | None = None
    target_change: str | None = None
    users_missing: str | None = None
    uneven_share: str | None = None
    draws: int | None = None
    support_missing: str | None = None
    warmup_requests: int = 0
    warmup_failures: int = 0


def validity(observations: Observations, slo: Slo | None, error: RunError | None) -> Validity:
    """The verdict; of several doubts the weightiest comes first."""
    if error is not None:
        return Validity(status=False, reason=error.reason, message=error.message)
    doubts = list(_doubts(observations, slo))
    if not doubts:
        count, draws = observations.successes, observations.draws
        worth = "" if draws is None else f", worth {draws} independent draws"
        message = f"{count} successful requests{worth}; target unchanged, client not saturated"
        if count < NEEDED_FOR_P99:
            message = f"{message}; p99 is left out, since it needs {NEEDED_FOR_P99}"
        if observations.uneven_share is not None:
            message = f"{message}; {observations.uneven_share}"
        return Validity(status=True, reason=MEASURED, message=message)
    (reason, message), *others = doubts
    return Validity(
        status=False, reason=reason, message=message, also=tuple(name for name, _ in others)
    )


def _doubts(observations: Observations, slo: Slo | None) -> Iterator[tuple[str, str]]:
    if observations.workers_lost:
        message = (
            f"{observations.workers_lost} worker(s) were lost, and with them their last samples"
        )
        yield "WorkerLost", message
    if observations.target_restart is not None:
        yield "TargetRestarted", observations.target_restart
    if observations.target_change is not None:
        yield "TargetChanged", observations.target_change
    if observations.users_missing is not None:
        yield USERS_NOT_REACHED, observations.users_missing
    if 0 < observations.warmup_requests == observations.warmup_failures:
        yield "WarmupFailed", f"all {observations.warmup_requests} requests of the warm-up failed"
    if (
        why := saturation(observations.client_usage, observations.median, observations.unsent)
    ) is not None:
        yield "ClientSaturated", f"{why}: set more workers, or give them more CPU"
    needed = needed_samples(slo)
    if observations.successes < needed:
        message = f"{observations.successes} successful requests are too few for its percentiles"
        yield TOO_FEW_SAMPLES, f"{message}, which need {needed}: let the test run longer"
    elif observations.support_missing is not None:
        yield TOO_FEW_SAMPLES, observations.support_missing


def needed_for_verdict(slo: Slo) -> int:
    """The least number of requests that bounds one of the slo's percentiles from above."""
    limits = ((slo.p99_seconds, 0.99), (slo.p95_seconds, 0.95))
    return needed_draws(next((q for limit, q in limits if limit is not None), 0.5))


def needed_samples(slo: Slo | None) -> int:
    """The successes below which a percentile is a guess: of p95, or of p99 if the slo has it."""
    return needed_draws(0.99 if slo is not None and slo.p99_seconds is not None else 0.95)
