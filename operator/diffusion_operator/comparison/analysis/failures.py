"""Failures and objectives: the verdicts on a variant's runs."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from diffusion_operator.api.comparison import Run

MOST_FAILURES = "0.01"
"""Share of requests that may fail unless the load's slo.maxFailureRatio says otherwise."""


def failure_limit(load: Any) -> float:
    """Largest share of requests that may fail under a load, with or without an SLO."""
    slo = load.get("slo") if isinstance(load, Mapping) else None
    limit = (slo or {}).get("maxFailureRatio")
    return float(MOST_FAILURES if limit is None else limit)


def failure_ratio(runs: Sequence[Run]) -> float | None:
    """Share of requests that failed: the greater of the mean of the runs and of all requests.

    The mean weighs each round equally; otherwise a round of slow time-outs would hide among rounds
    with many requests. All requests together count a round in which most of them came and failed.
    """
    known = [(run.failures or 0, run.requests) for run in runs if run.requests]
    if not known:
        return None
    mean = fmean(failures / requests for failures, requests in known)
    return max(mean, sum(failures for failures, _ in known) / sum(each for _, each in known))


def failures_in_words(runs: Sequence[Run], most: float) -> str:
    """Predicate about too many failures; empty where they are within the limit."""
    ratio = failure_ratio(runs)
    if ratio is None or ratio <= most:
        return ""
    return f"failed {ratio:.2%} of its requests instead of at most {most:.2%}"


def meets_objective(run: Run, most_failures: float) -> bool | None:
    """Verdict on a run: its SLO, its failures, and whether a search has a knee."""
    if run.is_below_least or run.slo_met is False:
        return False
    ratio = failure_ratio([run])
    return None if ratio is None else ratio <= most_failures


def objective_in_most_rounds(runs: Sequence[Run], most_failures: float) -> bool | None:
    """Verdict on a variant that has an SLO; None without one."""
    if all(run.slo_met is None for run in runs):
        return None
    met = sum(meets_objective(run, most_failures) is True for run in runs)
    return met * 2 > len(runs) and not failures_in_words(runs, most_failures)
