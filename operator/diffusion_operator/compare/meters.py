"""Energy and utilisation of a run's GPUs: of a Prometheus where a query is set, else of the pod."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diffusion_operator.api.comparison import PrometheusQueries, Run
from diffusion_operator.api.fields import shown

ENERGY, UTILISATION = "joulesPerImage", "gpuUtilisation"
"""The fields of a run that these are."""


@dataclass(frozen=True)
class Question:
    """What Prometheus is asked for a field of a run."""

    field: str
    query: str
    at: datetime


def questions(
    queries: PrometheusQueries | None, namespace: str, service: str, report: Mapping[str, Any]
) -> list[Question]:
    """What is to be asked of the run that the report is of, its service's name put in."""
    if queries is None or "completionTime" not in report:
        return []
    begun, over = (datetime.fromisoformat(report[time]) for time in ("startTime", "completionTime"))
    window = f"{max(1, round((over - begun).total_seconds()))}s"
    wanted = {ENERGY: queries.energy_joules, UTILISATION: queries.gpu_utilisation}
    return [
        Question(field, _filled(query, namespace, service, window), over)
        for field, query in wanted.items()
        if query is not None
    ]


def _filled(query: str, namespace: str, service: str, window: str) -> str:
    for name, value in (("namespace", namespace), ("service", service), ("window", window)):
        query = query.replace(f"${name}", value)
    return query


def images_made(report: Mapping[str, Any], images: int) -> int:
    """Images that came out while energy was counted, those left out of the figures included.

    ``images`` are those of a request. A search's summary is of one probe, its energy of all.
    """
    summary = report.get("summary") or {}
    parts = (report.get("stages") or ()) if report.get("search") else (summary,)
    answers: list[int] = [
        part.get("requests", 0) - part.get("failures", 0) + part.get("discarded", 0)
        for part in parts
    ]
    return images * sum(answers)


def answered(run: Run, field: str, value: float, made: int) -> Run:
    """The run with Prometheus' figure, joules or a share, if that is possible."""
    if field == ENERGY and value >= 0 and made:
        return run.model_copy(update={"joules_per_image": shown(value / made)})
    if field == UTILISATION and 0 <= value <= 1:
        return run.model_copy(update={"gpu_utilisation": shown(value)})
    share = " (a share is between 0 and 1)" if field == UTILISATION else ""
    return without(run, field, f"Prometheus gives {shown(value)} for the query{share}")


def without(run: Run, field: str, why: str) -> Run:
    """The run without that figure, and why."""
    name = "joules_per_image" if field == ENERGY else "gpu_utilisation"
    return run.model_copy(update={name: None, "unknown": {**(run.unknown or {}), field: why}})


def explained(run: Run, *, gpu: bool) -> Run:
    """The run, saying why what is still absent is so."""
    why = (
        "its pods don't tell, and spec.prometheus has no query for it"
        if gpu
        else "its pods have no GPU, and spec.prometheus has no query for it"
    )
    told = {ENERGY: run.joules_per_image, UTILISATION: run.gpu_utilisation}
    missing = {field: why for field, value in told.items() if value is None}
    return run.model_copy(update={"unknown": {**missing, **(run.unknown or {})} or None})
