"""Metric names of operator and services, which a dashboard or an alert may query."""

import re
from collections.abc import Iterator

from prometheus_client import CollectorRegistry

from diffusion_operator.kube.metrics import REGISTRY
from diffusion_serving.observability.metrics import DeviceUse, make_metrics

NAME = re.compile(r"\bdiffusion_[a-z_]+\b")


def sample_names(registry: CollectorRegistry) -> Iterator[str]:
    """The names that a query may use; a histogram has buckets, sum and count."""
    for metric in registry.collect():
        if metric.type == "histogram":
            yield from (f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))
        else:
            yield f"{metric.name}_total" if metric.type == "counter" else metric.name


def known_names() -> set[str]:
    serving = make_metrics()
    serving.publish_device_memory(lambda: 0)
    serving.publish_device_use(lambda: DeviceUse(joules=0, busy_seconds=0))
    return {*sample_names(REGISTRY), *sample_names(serving.registry)}
