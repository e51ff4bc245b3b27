"""The dashboard is one to Grafana and Prometheus, and asks only for metrics that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry

from diffusion_operator.kube.metrics import REGISTRY
from diffusion_serving.observability.metrics import make_metrics

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "diffusion.json"
NAME = re.compile(r"\bdiffusion_[a-z_]+\b")
# Labels that a scrape adds: the service's name as the chart's monitors carry it over.
SCRAPE_LABELS = {"diffusion_dev_service"}


def sample_names(registry: CollectorRegistry) -> Iterator[str]:
    """What a query may name: of a histogram its buckets, sum and count."""
    for metric in registry.collect():
        if metric.type == "histogram":
            yield from (f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))
        else:
            yield f"{metric.name}_total" if metric.type == "counter" else metric.name


def known() -> set[str]:
    serving = make_metrics()
    serving.publish_device_memory(lambda: 0)
    return {*sample_names(REGISTRY), *sample_names(serving.registry)}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def lost(before: Any, after: Any, at: str = "dashboard") -> list[str]:
    """Where something stood that stands there no longer."""
    if isinstance(before, dict) and isinstance(after, dict):
        parts = [(before[name], after.get(name), f"{at}.{name}") for name in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        parts = [
            (*pair, f"{at}[{number}]")
            for number, pair in enumerate(zip(before, after, strict=True))
        ]
    else:
        return [] if before == after else [at]
    return [place for part in parts for place in lost(*part)]


def unknown_to_grafana(written: dict[str, Any]) -> list[str]:
    """The fields that a dashboard of Grafana's own types has no place for."""
    return lost(written, json.loads(JSONEncoder().encode(Dashboard.from_json(written))))


def test_grafana_knows_every_field() -> None:
    written = json.loads(DASHBOARD.read_text())
    assert unknown_to_grafana(written) == []
    assert unknown_to_grafana({**written, "panells": []}) == ["dashboard.panells"]


def queries() -> list[str]:
    """Every query, with something in the place of Grafana's own variables."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [re.sub(r"\$\w+", "any", query.replace("$__rate_interval", "5m")) for query in asked]


@pytest.mark.parametrize("query", queries())
def test_prometheus_can_read_every_query_and_each_asks_for_metrics_that_there_are(
    query: str,
) -> None:
    named: set[str] = set()

    def note(part: promql_parser.Expr) -> bool:
        if isinstance(part, promql_parser.VectorSelector):
            named.add(str(part.name))
        return True

    promql_parser.walk(promql_parser.parse(query), note)
    assert named
    assert named <= known()


def test_every_variable_is_of_a_metric_that_there_is() -> None:
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    asked = {name for variable in variables for name in NAME.findall(variable["query"])}
    assert asked - SCRAPE_LABELS <= known()


def test_all_of_the_operators_metrics_are_shown() -> None:
    queries = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    shown = set(NAME.findall(queries))
    unseen = {metric.name for metric in REGISTRY.collect()} - {
        name.removesuffix("_total").removesuffix("_bucket") for name in shown
    }
    assert unseen == set()
