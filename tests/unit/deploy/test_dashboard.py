"""The dashboard is valid for Grafana and Prometheus, and queries only existing metrics."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from diffusion_operator.kube.metrics import REGISTRY
from metric_names import NAME, known_names, sample_names

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "diffusion.json"
# The chart's monitors add this label to each series: the service's name.
SCRAPE_LABELS = {"diffusion_dev_service"}


def panels() -> list[dict[str, Any]]:
    every: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in every if panel["type"] != "row"]


def lost(before: Any, after: Any, at: str = "dashboard") -> list[str]:
    """The paths of the values that `after` lacks or changes."""
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
    """The fields that Grafana's own type of a dashboard does not have."""
    return lost(written, json.loads(JSONEncoder().encode(Dashboard.from_json(written))))


def test_grafana_knows_every_field() -> None:
    written = json.loads(DASHBOARD.read_text())
    assert unknown_to_grafana(written) == []
    assert unknown_to_grafana({**written, "panells": []}) == ["dashboard.panells"]


def queries() -> list[str]:
    """Every query, with values in place of Grafana's own variables."""
    written = [target["expr"] for panel in panels() for target in panel["targets"]]
    numbers = {"$__rate_interval": "5m", "$price": "1"}
    for name, number in numbers.items():
        written = [query.replace(name, number) for query in written]
    return [re.sub(r"\$\w+", "any", query) for query in written]


@pytest.mark.parametrize("query", queries())
def test_prometheus_can_read_every_query_and_each_names_existing_metrics(
    query: str,
) -> None:
    named: set[str] = set()

    def note(part: promql_parser.Expr) -> bool:
        if isinstance(part, promql_parser.VectorSelector):
            named.add(str(part.name))
        return True

    promql_parser.walk(promql_parser.parse(query), note)
    assert named
    assert named <= known_names()


def test_every_variable_is_of_an_existing_metric() -> None:
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    queried = {name for variable in variables for name in NAME.findall(variable["query"])}
    assert queried - SCRAPE_LABELS <= known_names()


def shown() -> set[str]:
    return {name for query in queries() for name in NAME.findall(query)} - SCRAPE_LABELS


def test_all_metrics_of_a_service_are_shown() -> None:
    """Metrics that are always 1, and readiness, have no graph of their own."""
    described = {"diffusion_ready", "diffusion_build_info", "diffusion_device_info"}
    of_operator = set(sample_names(REGISTRY))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown()}
    for name in known_names() - of_operator - described:
        if name.startswith("diffusion_"):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in families


def test_the_price_is_the_catalogues() -> None:
    values = yaml.safe_load((DASHBOARD.parents[1] / "chart" / "values.yaml").read_text())
    (price,) = [
        each
        for each in json.loads(DASHBOARD.read_text())["templating"]["list"]
        if each["name"] == "price"
    ]
    assert price["query"] == values["accelerators"]["nvidia-l4"]["pricePerHour"]


def test_panels_do_not_overlap() -> None:
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


def test_all_of_the_operators_metrics_are_shown() -> None:
    queries = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    shown = set(NAME.findall(queries))
    unseen = {metric.name for metric in REGISTRY.collect()} - {
        name.removesuffix("_total").removesuffix("_bucket") for name in shown
    }
    assert unseen == set()
