"""Metrics of a running operator."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families


def metric_value(port: int, name: str, **labels: str) -> float:
    """The sum of the metric's samples over all series with those labels; 0 where there is none."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
