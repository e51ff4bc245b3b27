"""One HTML page: styles and charts in it, no script, and nothing fetched from anywhere."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kubectl_diffusion.charts import number
from kubectl_diffusion.documents.load_report import Report
from kubectl_diffusion.report.loadtest.charts import Chart, charts_of, milliseconds
from kubectl_diffusion.report.loadtest.document import Document

_PERCENT_DIGITS = 2


def html(document: Document) -> str:
    """The page of a load test."""
    report = document.report
    return rendered(
        "loadtest.html.j2",
        charts_of(report),
        document=document,
        report=report,
        summary=report.summary,
        tiles=tiles(report),
    )


def rendered(template: str, charts: Sequence[Chart], **values: Any) -> str:
    """A page from its template, with the style sheet and the charts in it."""
    environment = Environment(
        loader=PackageLoader("kubectl_diffusion.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"latency": milliseconds, "number": number, "percent": percent}
    assert environment.loader is not None  # noqa: S101 - given above; tells the type checker so
    style, _, _ = environment.loader.get_source(environment, "style.css")
    return environment.get_template(template).render(
        # drawn by our own code, which escapes every text in it
        charts=[(chart, Markup(chart.svg)) for chart in charts],  # noqa: S704
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=_hash(style),
        **values,
    )


def _hash(style: str) -> str:
    """What the page's policy knows its one style sheet by; no other one is obeyed."""
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def percent(ratio: float) -> str:
    """0.0123 as 1.23%."""
    return f"{round(ratio * 100, _PERCENT_DIGITS):g}%"


def tiles(report: Report) -> list[tuple[str, str, str]]:
    """The few figures that one looks for first: name, value, what it is of."""
    summary = report.summary
    found = [
        ("Requests per second", number(summary.requests_per_second), "successful, on average"),
        ("Median", milliseconds(summary.p50), "half were faster"),
        ("95th percentile", milliseconds(summary.p95), "one in twenty was slower"),
        ("99th percentile", milliseconds(summary.p99), "one in a hundred was slower"),
        ("Failures", percent(summary.failure_ratio), f"{summary.failures} of {summary.requests}"),
        ("Most users", str(summary.max_users), "at the same time"),
    ]
    if report.search is not None:
        knee = report.search.knee
        unit = "users" if report.search.over == "users" else "per second"
        value = "none" if knee is None else f"{number(knee)} {unit}"
        found.insert(0, ("Within the SLO", value, "highest load that kept it"))
    return found
