"""The dashboard asks only for metrics that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from diffusion_operator.metrics import REGISTRY
from diffusion_serving.metrics import make_metrics

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "diffusion.json"
NAME = re.compile(r"\bdiffusion_[a-z_]+\b")
# Labels that a scrape adds: the pod's own label as the PodMonitor carries it over.
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


def test_every_query_names_metrics_that_there_are() -> None:
    for panel in panels():
        for target in panel["targets"]:
            asked = set(NAME.findall(target["expr"])) - SCRAPE_LABELS
            assert asked, panel["title"]
            assert asked <= known(), panel["title"]


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
