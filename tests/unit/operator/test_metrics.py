"""The operator's metrics for Prometheus."""

import asyncio
import logging
import urllib.request

import pytest
from prometheus_client import generate_latest

from diffusion_operator.kube import metrics
from diffusion_operator.kube.workqueue import WorkQueue


def value(line: str) -> float:
    """The value of the sample whose line begins with `line`; 0 without one."""
    text = generate_latest(metrics.REGISTRY).decode()
    rows = [row for row in text.splitlines() if row.startswith(f"{line} ")]
    return float(rows[0].rsplit(" ", 1)[1]) if rows else 0.0


async def test_the_queues_depth_is_a_metric() -> None:
    done = asyncio.Event()

    async def work(key: str) -> None:
        if key == "b":
            done.set()

    queue: WorkQueue[str] = WorkQueue(work, workers=1)
    queue.add("a")
    queue.add("b")
    assert value("diffusion_operator_queue_depth") == 2
    queue.start()
    await asyncio.wait_for(done.wait(), 5)
    await queue.stop()
    assert value("diffusion_operator_queue_depth") == 0


def test_failed_requests_of_kopf_are_counted(unused_tcp_port: int) -> None:
    kopf = logging.getLogger("kopf")
    before = list(kopf.handlers)
    metrics.serve(unused_tcp_port)
    try:
        counted = value("diffusion_operator_watch_errors_total")
        logging.getLogger("kopf.of.any.depth").error("Request attempt 1 failed")
        logging.getLogger("kopf.of.any.depth").warning("nothing of note")
        address = f"http://127.0.0.1:{unused_tcp_port}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            text = answer.read().decode()
    finally:
        kopf.handlers[:] = before
    assert f"diffusion_operator_watch_errors_total {counted + 1}" in text


@pytest.mark.parametrize("name", ["diffusion_operator_leader", "diffusion_operator_queue_depth"])
def test_metrics_without_labels_exist_from_the_start(name: str) -> None:
    assert f"\n{name} " in generate_latest(metrics.REGISTRY).decode()
