"""Metrics of the operator itself; none names a resource or its content."""

import logging

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

REGISTRY = CollectorRegistry()

RECONCILE_SECONDS = Histogram(
    "diffusion_operator_reconcile_seconds",
    "Seconds of one reconcile, its writes included.",
    ["kind"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
    registry=REGISTRY,
)
RECONCILES = Counter(
    "diffusion_operator_reconciles_total",
    "Reconciles by outcome: done, or failed and retried.",
    ["kind", "outcome"],
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge(
    "diffusion_operator_queue_depth",
    "Resources that wait in the work queue.",
    registry=REGISTRY,
)
WATCH_ERRORS = Counter(
    "diffusion_operator_watch_errors_total",
    "Failed requests of the informers; each is retried.",
    registry=REGISTRY,
)
API_ERRORS = Counter(
    "diffusion_operator_api_errors_total",
    "Refusals of the operator's requests by the API server.",
    ["code"],
    registry=REGISTRY,
)
LEADER = Gauge(
    "diffusion_operator_leader",
    "1 while this operator is the leader.",
    registry=REGISTRY,
)


class _WatchErrors(logging.Handler):
    """Log handler that counts kopf's failed requests, which kopf only logs."""

    def emit(self, _: logging.LogRecord) -> None:
        WATCH_ERRORS.inc()


def serve(port: int) -> None:
    """Serve ``/metrics`` on that port from a thread of its own.

    Raises:
        OSError: The port is not free.
    """
    logging.getLogger("kopf").addHandler(_WatchErrors(logging.ERROR))
    start_http_server(port, registry=REGISTRY)
