"""Requests at times of their own, whoever else waits: ``python -m serving.arrivals --help``.

Prints, as JSON, the p95 in seconds from the planned time to the end of the answer, by step count.
"""

import argparse
import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Sequence

import uvloop

from serving.client import exchange
from serving.prompts import prompt

SHORT, LONG = 4, 30
SHARE = 0.8
"""The share of short requests."""


def planned(rate: float, seconds: float, seed: int) -> list[tuple[float, int]]:
    """The times and step counts: the same for every subject of a seed."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    times: list[tuple[float, int]] = []
    at = draw.expovariate(rate)
    while at < seconds:
        times.append((at, SHORT if draw.random() < SHARE else LONG))
        at += draw.expovariate(rate)
    return times


def p95(values: Sequence[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


async def _run(port: int, plan: Sequence[tuple[float, int]]) -> dict[int, list[float]]:
    begin = time.monotonic()
    latencies: dict[int, list[float]] = defaultdict(list)

    async def one(number: int, at: float, steps: int) -> None:
        await asyncio.sleep(begin + at - time.monotonic())
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        body = {"prompt": prompt(number), "seed": number, "steps": steps}
        status, _ = await exchange(reader, writer, json.dumps(body).encode())
        writer.close()
        if status != 200:  # noqa: PLR2004 - HTTP's own number
            raise RuntimeError(f"a request was answered with {status}")
        latencies[steps].append(time.monotonic() - begin - at)

    await asyncio.gather(*(one(number, *each) for number, each in enumerate(plan)))
    return latencies


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.arrivals", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(_run(flags.port, planned(flags.rate, flags.seconds, flags.seed)))
    print(json.dumps({str(steps): p95(values) for steps, values in seen.items()}))


if __name__ == "__main__":
    main()
