"""HTML pages with their styles and charts, without scripts or external files."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kubectl_diffusion.charts import number
from kubectl_diffusion.report.rendering.chart import Chart
from kubectl_diffusion.report.rendering.numbers import milliseconds, percent


def rendered(template: str, charts: Sequence[Chart], **values: Any) -> str:
    """A page from its template, with the style sheet and the charts."""
    environment = Environment(
        loader=PackageLoader("kubectl_diffusion.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"latency": milliseconds, "number": number, "percent": percent}
    assert environment.loader is not None  # noqa: S101 - for the type checker
    style, _, _ = environment.loader.get_source(environment, "style.css")
    return environment.get_template(template).render(
        # our own code draws the charts and escapes every text
        charts=[(chart, Markup(chart.svg)) for chart in charts],  # noqa: S704
        style=Markup(style),  # noqa: S704 - a file of this package
        style_hash=_hash(style),
        **values,
    )


def _hash(style: str) -> str:
    """The hash of the style sheet, the only one that the page's policy allows."""
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
