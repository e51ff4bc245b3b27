"""Status of a Comparison and the table in it, pure functions of what is observed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_operator.api.comparison import MAX_TEXT, ComparisonStatus, Design, Result, Run
from diffusion_operator.api.loadtest import ReportRef
from diffusion_operator.api.observed import ObservedComparison
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.analysis.differences import meant
from diffusion_operator.comparison.analysis.results import Compared, Table, criterion, table
from diffusion_operator.comparison.analysis.separation import alpha_of_look
from diffusion_operator.comparison.schedule import Schedule, Variant
from diffusion_operator.kube.conditions import Verdict, conditions
from diffusion_operator.kube.objects import run_at_of
from diffusion_operator.settings import Settings


@dataclass(frozen=True)
class Observed:
    """Observed state of a Comparison.

    `message` says what it waits for, or why it failed (`reason` in one word).
    """

    run: str
    state: RunState
    reason: str
    message: str
    total: int = 0
    ended: int = 0
    """Steps of the schedule that have ended and are not repeated."""
    design: Design | None = None
    variant: str = ""
    runs: Sequence[Run] = ()
    table: Table | None = None
    report_ref: ReportRef | None = None


def comparison_status(
    comparison: Mapping[str, Any], observed: Observed, *, now: str
) -> ComparisonStatus:
    """Compute the whole status."""
    generation = comparison["metadata"]["generation"]
    previous = ObservedComparison.of(comparison)
    ended = [run for run in observed.runs if run.completion_time]
    over = observed.state is RunState.COMPLETE
    # An early verdict would invite users to stop at the first one that they like.
    verdict = observed.table if observed.state.is_final else None
    return ComparisonStatus(
        observed_generation=generation,
        conditions=conditions(
            _verdicts(observed),
            previous=previous.conditions,
            generation=generation,
            now=now,
        ),
        state=observed.state,
        run=observed.run,
        run_at=run_at_of(comparison),
        variant=observed.variant,
        progress=f"{observed.ended}/{observed.total}" if observed.total else "",
        design=observed.design,
        start_time=min((run.start_time for run in observed.runs if run.start_time), default=None),
        completion_time=max(
            (run.completion_time for run in ended if run.completion_time), default=None
        )
        if over
        else None,
        recommended=verdict.recommended if verdict else "",
        conclusion=verdict.conclusion if verdict else "",
        differences=_bounded(observed.table.differences) if observed.table else None,
        results=_results(observed),
        runs=tuple(observed.runs) or None,
        report_ref=observed.report_ref,
    )


def _results(observed: Observed) -> tuple[Result, ...] | None:
    """Rows of the table; a p value before the end would be a verdict before the end."""
    if observed.table is None or observed.state.is_final:
        return observed.table.results if observed.table else None
    return tuple(row.model_copy(update={"p_value": None}) for row in observed.table.results)


def _bounded(texts: Sequence[str]) -> tuple[str, ...] | None:
    return tuple(text[:MAX_TEXT] for text in texts) or None


def _verdicts(observed: Observed) -> list[Verdict]:
    failed = observed.state is RunState.FAILED
    complete = observed.state is RunState.COMPLETE
    message = observed.message
    return [
        Verdict("Complete", "True" if complete else "False", observed.reason, message),
        Verdict(
            "Failed",
            "True" if failed else "False",
            observed.reason if failed else "NothingFailed",
            message if failed else "the comparison can complete",
        ),
        _comparable(observed),
    ]


def _comparable(observed: Observed) -> Verdict:
    if observed.table is None or not any(run.fingerprint for run in observed.runs):
        return Verdict("Comparable", "Unknown", "NothingMeasured", "no variant has run yet")
    if unlike := observed.table.differences:
        reason = "UnlikeLoads" if "load" in unlike else "UnlikeTargets"
        message = f"the variants have unintended differences: {'; '.join(unlike)}"
        return Verdict("Comparable", "False", reason, message[:MAX_TEXT])
    return Verdict("Comparable", "True", "Alike", "the variants differ only as intended")


def table_of(schedule: Schedule, settings: Settings) -> Table:
    """Table of all variants, by the ended runs."""
    names = list(schedule.variants)
    loads = {name: variant.load for name, variant in schedule.variants.items()}
    compared = Compared(
        criterion=criterion(loads[names[0]]),
        loads=loads,
        dollars_per_hour={name: _price(schedule.variants[name], settings) for name in names},
        images={name: schedule.variants[name].images for name in names},
        may_differ=meant(variant.patch for variant in schedule.variants.values()),
        alpha=alpha_of_look(schedule.looks.index(schedule.repetitions)),
    )
    return table(names, schedule.counted, compared)


def _price(variant: Variant, settings: Settings) -> float | None:
    """Price of the variant's accelerators per hour in dollars, by the catalogue."""
    gpu = variant.service.get("gpu")
    if gpu is None:
        return None
    accelerator = settings.accelerators.get(gpu["type"])
    if accelerator is None or accelerator.price_per_hour is None:
        return None
    pods = int(variant.service.get("replicas") or 1)
    return float(accelerator.price_per_hour) * int(gpu.get("count") or 1) * pods
