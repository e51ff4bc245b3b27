"""Result table of a Comparison: estimates, ranks and a recommendation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from diffusion_operator.api.comparison import MAX_TEXT, Estimate, Result, Run
from diffusion_operator.api.fields import shown
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.analysis.differences import differences
from diffusion_operator.comparison.analysis.failures import (
    failure_limit,
    failure_ratio,
    failures_in_words,
    meets_objective,
    objective_in_most_rounds,
)
from diffusion_operator.comparison.analysis.rankable import RankableVariant, rounding_unit
from diffusion_operator.comparison.analysis.ranking import Ranking, rank
from diffusion_operator.comparison.analysis.separation import ALPHA
from diffusion_operator.comparison.analysis.statistics import interval


@dataclass(frozen=True)
class Criterion:
    """Criterion: the figure of a run by which variants are ranked."""

    words: str
    higher_is_better: bool
    of: Callable[[Run], float | None]
    at_most: Callable[[Run], float | None] | None = None
    """Upper bound of a run's figure; None for exact figures."""
    unit: Callable[[float], float] = rounding_unit
    """Unit to which a run's figure is rounded."""
    most_failures: float = 1.0
    """Share of failures beyond which the figure has no value."""


THROUGHPUT = Criterion(
    "requests per second", higher_is_better=True, of=lambda run: number(run.requests_per_second)
)
LATENCY = Criterion(
    "95th percentile latency",
    higher_is_better=False,
    of=lambda run: number(run.p95),
    unit=lambda _: 1.0,
    # A failed request is beyond any latency, so that the 95th percentile itself is a failure.
    most_failures=0.05,
)
CAPACITY = Criterion(
    "highest load within the SLO",
    higher_is_better=True,
    of=lambda run: number(run.max_load_within_slo) or number(run.load_beyond_slo),
    at_most=lambda run: number(run.load_beyond_slo) or number(run.max_load_within_slo),
)


def criterion(load: Mapping[str, object]) -> Criterion:
    """Criterion of a load: capacity for a search, latency for arrivals, else throughput."""
    if "search" in load:
        return CAPACITY
    return LATENCY if "arrivals" in load else THROUGHPUT


OWN_FAILURES = frozenset(
    {
        "AllRequestsFailed",
        "NoRequests",
        "NotReady",
        "Refused",
        "TargetRestarted",
        "TargetUnreachable",
        "WarmupFailed",
    }
)
"""Reasons that lie in the variant itself, so that it can't be the best.

A variant that is not ranked for another reason was not measured and may be the best: the fastest
variant, for example, saturates the client first.
"""


@dataclass(frozen=True)
class Compared:
    """Facts that all variants were compared by.

    `loads` holds each variant's load, `dollars_per_hour` the cost of all its replicas (None without
    a price), `images` the number per request, `may_differ` the facts that variants set themselves.
    """

    criterion: Criterion
    loads: Mapping[str, object]
    dollars_per_hour: Mapping[str, float | None]
    images: Mapping[str, int]
    may_differ: set[str]
    alpha: float = ALPHA

    @property
    def alike_loads(self) -> bool:
        every = list(self.loads.values())
        return all(load == every[0] for load in every)

    def most_failures(self, variant: str) -> float:
        """Largest share of the variant's requests that may fail."""
        return min(failure_limit(self.loads[variant]), self.criterion.most_failures)


@dataclass(frozen=True)
class Table:
    """Table of ranked rows with its conclusion."""

    results: tuple[Result, ...]
    recommended: str
    conclusion: str
    differences: tuple[str, ...]
    criterion: str
    """Name of the figure that ranks them."""
    method: str = ""
    """Name of the test that separates them."""
    alpha: float = ALPHA


def table(variants: Sequence[str], runs: Sequence[Run], compared: Compared) -> Table:
    """Compute the table of all variants, with or without figures."""
    by_variant = {name: [run for run in runs if run.variant == name] for name in variants}
    rows = {name: _row(name, by_variant[name], compared) for name in variants}
    fit = [name for name in variants if not rows[name].reason]
    unlike = differences(
        {name: [run.fingerprint or {} for run in by_variant[name]] for name in fit},
        compared.may_differ,
    )
    by = compared.criterion.words
    if not compared.alike_loads:
        message = "the variants had different loads, so they are shown side by side and not ranked"
        return Table(tuple(rows.values()), "", message, ("load", *unlike), by)
    ranking = rank(
        [_candidate(name, by_variant[name], compared) for name in fit],
        higher_is_better=compared.criterion.higher_is_better,
        figure=by,
        alpha=compared.alpha,
    )
    recommended, conclusion = ranking.recommended or "", ranking.reason
    if unlike and recommended:
        recommended = ""
        conclusion += f"; not recommended, because the variants also differ in {unlike[0]}"
    unmeasured = [row for row in rows.values() if row.reason and row.reason not in OWN_FAILURES]
    if unmeasured and recommended:
        recommended = ""
        listed = ", ".join(f"{row.variant} ({row.reason})" for row in unmeasured)
        conclusion += f"; not recommended, because there are no valid figures of {listed}"
    in_order = tuple(_in_order(rows, ranking))
    method = ranking.method
    return Table(in_order, recommended, conclusion, unlike, by, method, compared.alpha)


def _in_order(rows: Mapping[str, Result], ranking: Ranking) -> list[Result]:
    ranked = [
        rows[name].model_copy(
            update={
                "rank": place,
                "p_value": f"{ranking.p_values[name]:.2g}" if name in ranking.p_values else None,
            }
        )
        for place, name in enumerate(ranking.order, 1)
    ]
    return ranked + [row for name, row in rows.items() if name not in ranking.order]


def _candidate(name: str, runs: Sequence[Run], compared: Compared) -> RankableVariant:
    by, most_failures = compared.criterion, compared.most_failures(name)
    ordered = sorted(runs, key=lambda run: run.repetition)
    values = [value for run in ordered if (value := by.of(run))]
    return RankableVariant(
        name,
        values,
        [meets_objective(run, most_failures) for run in ordered],
        at_most=[value for run in ordered if (value := by.at_most(run))] if by.at_most else (),
        units=[by.unit(value) for value in values],
        rounds=[run.repetition for run in ordered],
        failing=failures_in_words(ordered, most_failures),
        below_least=sum(run.is_below_least for run in ordered),
    )


def _row(name: str, runs: Sequence[Run], compared: Compared) -> Result:
    good = [run for run in runs if run.state is RunState.COMPLETE and run.valid]
    allowed = failure_limit(compared.loads[name])
    verdicts = [meets_objective(run, allowed) for run in good]
    ratio = failure_ratio(good)
    reason, message = _unfit(runs, compared.criterion)
    speed = estimate([run.requests_per_second for run in good])
    row = Result(
        variant=name,
        reason=reason,
        message=message[:MAX_TEXT],
        runs=len(good),
        requests=sum(run.requests or 0 for run in runs),
        failures=sum(run.failures or 0 for run in runs),
        failure_ratio=None if ratio is None else shown(ratio),
        slo_met=objective_in_most_rounds(good, allowed),
        slo_met_runs=sum(verdict is True for verdict in verdicts) if good else None,
        below_least_runs=sum(run.is_below_least for run in good) or None,
        requests_per_second=speed,
        p50=estimate([run.p50 for run in good]),
        p95=estimate([run.p95 for run in good]),
        p99=estimate([run.p99 for run in good]),
        max_load_within_slo=_capacity(good),
        efficiency=estimate([run.efficiency for run in good]),
        tax=_means([run.tax for run in good]),
        cold_start_seconds=estimate(
            [run.cold_start.ready if run.cold_start else None for run in runs]
        ),
        memory_bytes=max((run.memory_bytes for run in good if run.memory_bytes), default=None),
        device_memory_bytes=max(
            (run.device_memory_bytes for run in good if run.device_memory_bytes), default=None
        ),
        gpu_utilisation=_mean([run.gpu_utilisation for run in good]),
        joules_per_image=_mean([run.joules_per_image for run in good]),
        unknown=_unknown(good),
    )
    return row.model_copy(update=_cost(speed, name, compared))


def _unfit(runs: Sequence[Run], by: Criterion) -> tuple[str, str]:
    """Reason and message for a variant that can't be ranked; empty if it can."""
    if not runs:
        return "NotRun", "the variant has not run yet"
    # A failure says more than a repetition that has not ended.
    for run in sorted(runs, key=lambda run: run.state is not RunState.FAILED):
        reason, message = _unfit_run(run, by)
        if reason:
            attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
            return reason, f"repetition {run.repetition}{attempt}: {message}"
    return "", ""


def _unfit_run(run: Run, by: Criterion) -> tuple[str, str]:
    if run.state is RunState.FAILED:
        return run.reason or "Failed", run.message
    if run.state is not RunState.COMPLETE:
        return "NotRun", "the run has not ended"
    if run.valid is False:
        return run.reason or "Invalid", f"its figures are not valid: {run.message}"
    if run.valid is None:
        return "NotJudged", "its load test has no verdict on its figures"
    missing = _missing_figure(run, by)
    return ("NoFigure", f"the run has no {missing}") if missing else ("", "")


def _missing_figure(run: Run, by: Criterion) -> str:
    """Name of a figure that ranks the run and that it lacks; empty if it has all of them."""
    if not run.requests:
        return "count of requests"
    if run.failures is None:
        return "count of failures"
    return "" if by.of(run) else by.words


def _cost(speed: Estimate | None, name: str, compared: Compared) -> dict[str, str]:
    price = compared.dollars_per_hour[name]
    if price is None or speed is None or not float(speed.mean):
        return {}
    images_per_hour = float(speed.mean) * compared.images[name] * 3600
    costs = {"cost_per_thousand_images": shown(price / images_per_hour * 1000)}
    if price:
        costs["images_per_dollar"] = shown(images_per_hour / price)
    return costs


def number(text: str | float | None) -> float | None:
    """Figure as a number; None also for zero, which has no logarithm."""
    value = None if text is None else float(text)
    return value or None


def estimate(figures: Sequence[str | float | None]) -> Estimate | None:
    """Estimate over the known figures; None without any."""
    values = [value for figure in figures if (value := number(figure)) is not None]
    if not values:
        return None
    whole = any(isinstance(figure, int) for figure in figures)
    units = [(1.0 if whole else rounding_unit(value)) / value for value in values]
    bounds = interval(values, fmean(unit * unit for unit in units) / 12)
    return Estimate(
        mean=shown(bounds.mean),
        low=None if bounds.low is None else shown(bounds.low),
        high=None if bounds.high is None else shown(bounds.high),
    )


def _mean(figures: Sequence[str | None]) -> str | None:
    values = [float(figure) for figure in figures if figure is not None]
    return shown(fmean(values)) if values else None


def _means(taxes: Sequence[Mapping[str, int] | None]) -> dict[str, int] | None:
    known = [tax for tax in taxes if tax]
    stages = {stage for tax in known for stage in tax}
    return {
        stage: round(fmean(tax.get(stage, 0) for tax in known)) for stage in sorted(stages)
    } or None


def _unknown(runs: Sequence[Run]) -> dict[str, str] | None:
    """Reasons for absent figures, the first one for each."""
    reasons: dict[str, str] = {}
    for run in runs:
        reasons = {**(run.unknown or {}), **reasons}
    return reasons or None


def _capacity(runs: Sequence[Run]) -> Estimate | None:
    """Estimate of the highest load within the SLO.

    A run below the least load counts with that load: it would raise the mean if it were left out.
    """
    if all(run.is_below_least for run in runs):
        return None
    return estimate(
        [run.load_beyond_slo if run.is_below_least else run.max_load_within_slo for run in runs]
    )
