"""Memory under a long load."""

import itertools
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from serving_process import Server, resident_bytes

USERS = 16
SECONDS = 600.0
SETTLING = 60.0
"""Seconds in which caches fill and the allocator reaches its size."""
WINDOW = 30.0
"""Seconds of each median that is compared; a single sample also counts a running batch's memory."""


def loaded(server: Server, seconds: float) -> list[tuple[float, int]]:
    """Samples the memory of all processes while 16 users send one request after another."""
    end = threading.Event()
    seeds = itertools.count()

    def user(number: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        with httpx.Client(base_url=server.url, timeout=120) as client:
            while not end.is_set():
                body = {"prompt": f"user {number}", "seed": next(seeds), "steps": 1 + number % 3}
                statuses[client.post("/predict", json=body).status_code] += 1
        return statuses

    samples: list[tuple[float, int]] = []
    begin = time.monotonic()
    with ThreadPoolExecutor(USERS) as threads:
        users = [threads.submit(user, number) for number in range(USERS)]
        while (elapsed := time.monotonic() - begin) < seconds:
            samples.append((elapsed, resident_bytes(server.family)))
            end.wait(1.0)
        end.set()
        statuses = sum((one.result() for one in users), Counter())
        assert set(statuses) == {200}
        print(statuses[200], "requests")
    return samples


def windows(samples: list[tuple[float, int]], begin: float, length: float) -> list[float]:
    """Medians of the samples in each complete window of that length, from `begin` on."""
    last = samples[-1][0]
    count = int((last - begin) // length)
    return [
        statistics.median(
            size for at, size in samples if begin + n * length <= at < begin + (n + 1) * length
        )
        for n in range(count)
    ]


@pytest.mark.full
@pytest.mark.timeout(SECONDS + 600)
def test_memory_is_flat_after_the_first_minute(server: Server) -> None:
    medians = windows(loaded(server, SECONDS), SETTLING, WINDOW)
    print([round(size / 1e6, 1) for size in medians], "MB")
    assert max(medians) <= 1.02 * medians[0]
