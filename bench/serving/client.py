"""A closed loop of users, each on a connection of its own: ``python -m serving.client --help``.

The client uses bare sockets and does as little work as possible, because it shares the cores with
the subject. All subjects have the same client, which reports its own use of a core.
"""

import argparse
import asyncio
import json
import statistics
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count

import uvloop

from serving.prompts import body


@dataclass(frozen=True)
class Load:
    """The result of a run: latencies in seconds, of the responses with 200 within the window.

    The rate is the load test's: the successful responses that arrived in the window, divided by its
    seconds. The window's ends are responses, since the requests of a batch end together: any other
    short window would be wrong by up to one batch at each end.
    """

    requests_per_second: float
    failures: int
    p50: float
    client_cores: float
    answer_bytes: float


@dataclass
class _Window:
    """Counts the requests that end between the warm-up and the end.

    `ends` has those of the warm-up, too.
    """

    begin: float
    end: float
    ends: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    failures: int = 0

    def add(self, begun: float, ended: float, status: int, size: int) -> None:
        if status == 200:  # noqa: PLR2004 - HTTP's own number
            self.ends.append(ended)
        if not self.begin <= ended < self.end:
            return
        if status == 200:  # noqa: PLR2004 - same
            self.latencies.append(ended - begun)
            self.sizes.append(size)
        else:
            self.failures += 1


def rate(ends: Sequence[float], begin: float, end: float) -> float:
    """The responses per second from the last one before `begin` to the last one before `end`.

    `ends` are the responses' moments in ascending order. Without a response before `begin` the
    window starts there.
    """
    first, last = bisect_right(ends, begin), bisect_right(ends, end)
    if first == last:
        return 0.0
    start = ends[first - 1] if first else begin
    return (last - first) / (ends[last - 1] - start)


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, payload: bytes
) -> tuple[int, int]:
    """The response's status, and the size of its body in bytes."""
    writer.write(
        b"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(payload), payload)
    )
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    if b"content-length:" in head:
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return status, length
    size = 0  # chunked
    while length := int(await reader.readuntil(b"\r\n"), 16):
        size += length
        await reader.readexactly(length + 2)
    await reader.readexactly(2)
    return status, size


async def _user(port: int, numbers: Iterator[int], window: _Window) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        while time.monotonic() < window.end:
            begun = time.monotonic()
            status, size = await exchange(reader, writer, body(next(numbers)))
            window.add(begun, time.monotonic(), status, size)
    finally:
        writer.close()


async def _run(port: int, users: int, warm: float, seconds: float) -> Load:
    begin = time.monotonic() + warm
    window = _Window(begin, begin + seconds)
    numbers = count()
    tasks = [asyncio.create_task(_user(port, numbers, window)) for _ in range(users)]
    await asyncio.sleep(warm)
    before = time.process_time()
    await asyncio.sleep(seconds)
    cores = (time.process_time() - before) / seconds
    await asyncio.gather(*tasks)
    return Load(
        requests_per_second=rate(window.ends, window.begin, window.end),
        failures=window.failures,
        p50=statistics.median(window.latencies) if window.latencies else float("nan"),
        client_cores=cores,
        answer_bytes=statistics.fmean(window.sizes) if window.sizes else 0.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m serving.client", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--warm", type=float, default=1.5, help="seconds that are not counted")
    parser.add_argument("--seconds", type=float, default=10.0)
    flags = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(_run(flags.port, flags.users, flags.warm, flags.seconds))
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
