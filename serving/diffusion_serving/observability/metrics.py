"""Prometheus metrics. No label ever holds anything that a client wrote."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
)
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from diffusion_serving.observability.exposition import expose

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0)
"""Bucket bounds from a tiny model on a GPU to a full-size one on two CPU cores."""


class DeviceUse(NamedTuple):
    """What a device has done since its model was loaded; None is unknown."""

    joules: float | None
    busy_seconds: float | None
    """The time in which it ran anything."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of one process, in a registry of their own so that tests can make many."""

    registry: CollectorRegistry
    requests: Counter
    request_seconds: Histogram
    stage_seconds: Histogram
    batch_size: Histogram
    queue_length: Gauge
    queue_seconds: Histogram
    images: Counter
    rejected: Counter
    ready: Gauge

    def expose(self, others: Iterable[Metric] = ()) -> tuple[bytes, str]:
        """The scrape's body and its media type, with the metrics that other processes keep."""
        return expose([*self.registry.collect(), *others])

    def publish_build_info(self, labels: Mapping[str, str]) -> None:
        """Adds `diffusion_build_info`, always 1, whose labels tell who is answering."""
        info = Gauge("diffusion_build_info", "Always 1.", tuple(labels), registry=self.registry)
        info.labels(**labels).set(1)

    def publish_device(self, device: str, device_name: str, dtype: str) -> None:
        """Adds `diffusion_device_info`, always 1, whose labels tell what is really in use."""
        labels = {"device": device, "device_name": device_name, "dtype": dtype}
        info = Gauge("diffusion_device_info", "Always 1.", tuple(labels), registry=self.registry)
        info.labels(**labels).set(1)

    def publish_device_memory(self, read: Callable[[], int]) -> None:
        """Adds `diffusion_device_memory_bytes`, read anew on each scrape.

        A CPU has none of its own, so there nothing is added.
        """
        gauge = Gauge(
            "diffusion_device_memory_bytes",
            "Memory that this process holds on its GPU; not there on a CPU.",
            registry=self.registry,
        )
        gauge.set_function(read)

    def publish_device_use(self, read: Callable[[], DeviceUse]) -> None:
        """Adds `diffusion_energy_joules_total` and `diffusion_device_busy_seconds_total`.

        They are read anew on each scrape, and left out where they are unknown.
        """
        self.registry.register(_Uses(read))


class _Uses(Collector):
    def __init__(self, read: Callable[[], DeviceUse]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        use = self._read()
        if use.joules is not None:
            yield CounterMetricFamily(
                "diffusion_energy_joules", "What this process's device has spent.", use.joules
            )
        if use.busy_seconds is not None:
            yield CounterMetricFamily(
                "diffusion_device_busy_seconds",
                "Time in which this process's device ran anything.",
                use.busy_seconds,
            )


def make_metrics() -> Metrics:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return Metrics(
        registry=registry,
        requests=Counter(
            "diffusion_requests_total",
            "HTTP requests answered.",
            ("route", "code"),
            registry=registry,
        ),
        request_seconds=Histogram(
            "diffusion_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        ),
        stage_seconds=Histogram(
            "diffusion_stage_seconds",
            "Time that a batch spends in one stage; encode is that of one request.",
            ("stage",),
            buckets=SECONDS,
            registry=registry,
        ),
        batch_size=Histogram(
            "diffusion_batch_size",
            "Images per call of the pipeline.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        ),
        queue_length=Gauge(
            "diffusion_queue_length", "Requests that wait for the engine.", registry=registry
        ),
        queue_seconds=Histogram(
            "diffusion_queue_seconds",
            "Time that a request waited before its batch started.",
            buckets=SECONDS,
            registry=registry,
        ),
        images=Counter("diffusion_images_total", "Images made.", registry=registry),
        rejected=Counter(
            "diffusion_rejected_total",
            "Requests to make images that were not started.",
            ("reason",),
            registry=registry,
        ),
        ready=Gauge(
            "diffusion_ready", "1 while requests to make images are served.", registry=registry
        ),
    )
