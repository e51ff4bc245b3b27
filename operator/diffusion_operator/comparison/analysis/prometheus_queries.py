"""Prometheus queries for energy and utilisation of a run's GPUs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diffusion_operator.api.comparison import Run
from diffusion_operator.api.comparison_parts import PrometheusQueries
from diffusion_operator.api.fields import shown

ENERGY, UTILISATION = "joulesPerImage", "gpuUtilisation"
"""Fields of a run that hold these figures."""


@dataclass(frozen=True)
class Question:
    """Query for one field of a run."""

    field: str
    query: str
    at: datetime


def questions(
    queries: PrometheusQueries | None, namespace: str, service: str, report: Mapping[str, Any]
) -> list[Question]:
    """Queries for the run of that report, with the service's name filled in."""
    if queries is None or "completionTime" not in report:
        return []
    begun, over = (datetime.fromisoformat(report[time]) for time in ("startTime", "completionTime"))
    window = f"{max(1, round((over - begun).total_seconds()))}s"
    by_field = {ENERGY: queries.energy_joules, UTILISATION: queries.gpu_utilisation}
    return [
        Question(field, _filled(query, namespace, service, window), over)
        for field, query in by_field.items()
        if query is not None
    ]


def _filled(query: str, namespace: str, service: str, window: str) -> str:
    for name, value in (("namespace", namespace), ("service", service), ("window", window)):
        query = query.replace(f"${name}", value)
    return query


def images_made(report: Mapping[str, Any], images: int) -> int:
    """Images made while energy was counted, those outside the figures included.

    ``images`` is the number per request. A search's summary covers one probe, its energy all
    probes.
    """
    summary = report.get("summary") or {}
    parts = (report.get("stages") or ()) if report.get("search") else (summary,)
    answers: list[int] = [
        part.get("requests", 0) - part.get("failures", 0) + part.get("discarded", 0)
        for part in parts
    ]
    return images * sum(answers)


def answered(run: Run, field: str, value: float, made: int) -> Run:
    """Copy of the run with Prometheus' figure, if the figure is possible."""
    if field == ENERGY and value >= 0 and made:
        return run.model_copy(update={"joules_per_image": shown(value / made)})
    if field == UTILISATION and 0 <= value <= 1:
        return run.model_copy(update={"gpu_utilisation": shown(value)})
    share = " (a share is between 0 and 1)" if field == UTILISATION else ""
    return without(run, field, f"Prometheus gives {shown(value)} for the query{share}")


def without(run: Run, field: str, why: str) -> Run:
    """Copy of the run without that figure, with the reason."""
    name = "joules_per_image" if field == ENERGY else "gpu_utilisation"
    return run.model_copy(update={name: None, "unknown": {**(run.unknown or {}), field: why}})


def explained(run: Run, *, gpu: bool) -> Run:
    """Copy of the run with a reason for each absent figure."""
    why = (
        "its pods don't report it, and spec.prometheus has no query for it"
        if gpu
        else "its pods have no GPU, and spec.prometheus has no query for it"
    )
    figures = {ENERGY: run.joules_per_image, UTILISATION: run.gpu_utilisation}
    missing = {field: why for field, value in figures.items() if value is None}
    return run.model_copy(update={"unknown": {**missing, **(run.unknown or {})} or None})
