"""What Prometheus is told of the operator itself; never a resource's name, nor what is in it."""

import logging

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

REGISTRY = CollectorRegistry()

RECONCILE_SECONDS = Histogram(
    "diffusion_operator_reconcile_seconds",
    "Seconds of one look at one resource, with all that was written.",
    ["kind"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
    registry=REGISTRY,
)
RECONCILES = Counter(
    "diffusion_operator_reconciles_total",
    "Looks at resources, by how they ended: done, or failed and so made again.",
    ["kind", "outcome"],
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge(
    "diffusion_operator_queue_depth",
    "Resources that wait to be looked at.",
    registry=REGISTRY,
)
WATCH_ERRORS = Counter(
    "diffusion_operator_watch_errors_total",
    "Requests of the watches that failed; each is made again.",
    registry=REGISTRY,
)
API_ERRORS = Counter(
    "diffusion_operator_api_errors_total",
    "Answers of the API server to the operator's own requests that were refusals.",
    ["code"],
    registry=REGISTRY,
)
LEADER = Gauge(
    "diffusion_operator_leader",
    "1 where this operator is the one that writes.",
    registry=REGISTRY,
)


class _WatchErrors(logging.Handler):
    """kopf tells of a failed request in its log alone."""

    def emit(self, _: logging.LogRecord) -> None:
        WATCH_ERRORS.inc()


def serve(port: int) -> None:
    """Answer ``/metrics`` on that port, from a thread of its own. Raises ``OSError``."""
    logging.getLogger("kopf").addHandler(_WatchErrors(logging.ERROR))
    start_http_server(port, registry=REGISTRY)
