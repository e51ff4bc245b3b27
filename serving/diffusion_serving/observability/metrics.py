"""Prometheus metrics, whose labels never hold a client's text."""

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
    """Energy and busy time of a device since its model was loaded; None is unknown."""

    joules: float | None
    busy_seconds: float | None
    """Time in which the device ran anything."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of one process, in a registry of their own so that tests can make many."""

    registry: CollectorRegistry
    requests: Counter
    request_seconds: Histogram
    stage_seconds: Histogram
    batch_size: Histogram
    queue_length: Gauge
    in_flight: Gauge
    cost_in_flight: Gauge
    waiting_cost: Gauge
    running_cost: Gauge
    queue_seconds: Histogram
    images: Counter
    checked: Counter
    rejected: Counter
    ready: Gauge

    def expose(self, others: Iterable[Metric] = ()) -> tuple[bytes, str]:
        """Returns the scrape's body and media type, with the metrics of other processes."""
        return expose([*self.registry.collect(), *others])

    def publish_build_info(self, labels: Mapping[str, str]) -> None:
        """Adds `diffusion_build_info`, always 1, whose labels identify the server."""
        info = Gauge("diffusion_build_info", "Always 1.", tuple(labels), registry=self.registry)
        info.labels(**labels).set(1)

    def publish_device(self, device: str, device_name: str, dtype: str) -> None:
        """Adds `diffusion_device_info`, always 1, whose labels identify the device in use."""
        labels = {"device": device, "device_name": device_name, "dtype": dtype}
        info = Gauge("diffusion_device_info", "Always 1.", tuple(labels), registry=self.registry)
        info.labels(**labels).set(1)

    def publish_device_memory(self, read: Callable[[], int]) -> None:
        """Adds `diffusion_device_memory_bytes`, read again on each scrape.

        A CPU has no memory of its own, so it has no such metric.
        """
        gauge = Gauge(
            "diffusion_device_memory_bytes",
            "Memory that this process holds on its GPU; not there on a CPU.",
            registry=self.registry,
        )
        gauge.set_function(read)

    def publish_device_use(self, read: Callable[[], DeviceUse]) -> None:
        """Adds `diffusion_energy_joules_total` and `diffusion_device_busy_seconds_total`.

        Both are read again on each scrape, and left out where they are unknown.
        """
        self.registry.register(_DeviceUseCollector(read))


class _DeviceUseCollector(Collector):
    def __init__(self, read: Callable[[], DeviceUse]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        use = self._read()
        if use.joules is not None:
            yield CounterMetricFamily(
                "diffusion_energy_joules", "Energy that this process's device has used.", use.joules
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
            "Time that a request spends in one stage, or a batch where whole calls are made.",
            ("stage",),
            buckets=SECONDS,
            registry=registry,
        ),
        batch_size=Histogram(
            "diffusion_batch_size",
            "Images in a step, or in a call where whole calls are made.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        ),
        queue_length=Gauge(
            "diffusion_queue_length", "Requests that wait for the engine.", registry=registry
        ),
        in_flight=Gauge(
            "diffusion_requests_in_flight",
            "Requests for images that wait or run.",
            registry=registry,
        ),
        cost_in_flight=Gauge(
            "diffusion_cost_in_flight",
            "Cost of the requests that wait or run, in requests of the service's defaults; one "
            "counts as no more than a replica runs at the same time.",
            registry=registry,
        ),
        waiting_cost=Gauge(
            "diffusion_waiting_cost",
            "Cost of the requests that wait, in requests of the service's defaults.",
            registry=registry,
        ),
        running_cost=Gauge(
            "diffusion_running_cost",
            "Cost left of the requests that run in steps, in requests of the service's defaults.",
            registry=registry,
        ),
        queue_seconds=Histogram(
            "diffusion_queue_seconds",
            "Time that a request waited before its first step or its batch started.",
            buckets=SECONDS,
            registry=registry,
        ),
        images=Counter("diffusion_images_total", "Images generated.", registry=registry),
        checked=Counter(
            "diffusion_checked_images_total",
            "Images that the safety checker passed or blocked.",
            ("verdict",),
            registry=registry,
        ),
        rejected=Counter(
            "diffusion_rejected_total",
            "Requests for images that were refused, or whose clients left before they were made.",
            ("reason",),
            registry=registry,
        ),
        ready=Gauge(
            "diffusion_ready", "1 while requests for images are served.", registry=registry
        ),
    )
