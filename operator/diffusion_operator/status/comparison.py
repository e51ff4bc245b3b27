"""The status of a Comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_operator.api.comparison import MAX_TEXT, ComparisonStatus, Run
from diffusion_operator.api.loadtest import ReportRef
from diffusion_operator.compare.results import Table
from diffusion_operator.status.conditions import Verdict, conditions


@dataclass(frozen=True)
class Seen:
    """What is known of a Comparison.

    `state` is Waiting, Running, Cooling, Suspended, Complete or Failed; `message` tells what is
    waited for, or why it failed (`reason` in one word).
    """

    run: str
    state: str
    reason: str
    message: str
    total: int = 0
    variant: str = ""
    runs: Sequence[Run] = ()
    table: Table | None = None
    report_ref: ReportRef | None = None


def comparison_status(comparison: Mapping[str, Any], seen: Seen, *, now: str) -> ComparisonStatus:
    """The whole status."""
    generation = comparison["metadata"]["generation"]
    previous = comparison.get("status") or {}
    ended = [run for run in seen.runs if run.completion_time]
    over = seen.state == "Complete"
    # A verdict that is looked at again and again until it is there would be one too often.
    found = seen.table if over or seen.state == "Failed" else None
    return ComparisonStatus(
        observed_generation=generation,
        conditions=conditions(
            _verdicts(seen),
            previous=previous.get("conditions") or (),
            generation=generation,
            now=now,
        ),
        state=seen.state,
        run=seen.run,
        variant=seen.variant,
        progress=f"{len(ended)}/{seen.total}" if seen.total else "",
        start_time=min((run.start_time for run in seen.runs if run.start_time), default=None),
        completion_time=max(
            (run.completion_time for run in ended if run.completion_time), default=None
        )
        if over
        else None,
        recommended=found.recommended if found else "",
        conclusion=found.conclusion if found else "",
        differences=_bounded(seen.table.differences) if seen.table else None,
        results=seen.table.results if seen.table else None,
        runs=tuple(seen.runs) or None,
        report_ref=seen.report_ref,
    )


def _bounded(texts: Sequence[str]) -> tuple[str, ...] | None:
    return tuple(text[:MAX_TEXT] for text in texts) or None


def _verdicts(seen: Seen) -> list[Verdict]:
    failed = seen.state == "Failed"
    complete = seen.state == "Complete"
    said = seen.message
    return [
        Verdict("Complete", "True" if complete else "False", seen.reason, said),
        Verdict(
            "Failed",
            "True" if failed else "False",
            seen.reason if failed else "NothingFailed",
            said if failed else "nothing keeps the comparison from its end",
        ),
        _comparable(seen),
    ]


def _comparable(seen: Seen) -> Verdict:
    if seen.table is None or not any(run.fingerprint for run in seen.runs):
        return Verdict("Comparable", "Unknown", "NothingMeasured", "no variant has run yet")
    if unlike := seen.table.differences:
        reason = "UnlikeLoads" if "load" in unlike else "UnlikeTargets"
        said = f"the variants differ beyond what they were meant to: {'; '.join(unlike)}"
        return Verdict("Comparable", "False", reason, said[:MAX_TEXT])
    return Verdict(
        "Comparable", "True", "Alike", "the variants differ in nothing but what they were meant to"
    )
