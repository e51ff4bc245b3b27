"""A target of known latencies, in its own process, which records each request.

`python known_target.py '{"median": 0.3, …}'` prints its port and serves until it is killed.
"""

import asyncio
import base64
import contextlib
import gzip
import io
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ahead import go_ahead, is_strict

BACKLOG = 4096
"""The listen backlog: more connections than any test opens at once."""

SLOW_START = 5.0
"""The factor of the service times during a slow start."""

ALLOWED_AT_ONCE = 0.5
"""Seconds of the rate's allowance that a burst may use at once."""


@dataclass(frozen=True)
class Behaviour:
    """Latencies, failures and limits of the target. Times are seconds."""

    median: float = 0.3
    """The median of the log-normal service times."""
    sigma: float = 0.0
    """The standard deviation of their logarithms; 0: all service times are equal."""
    levels: tuple[tuple[float, float], ...] = ()
    """Service times to choose from, with their weights, instead of the log-normal ones."""
    longest: float = 5.0
    """The upper limit of a service time."""
    seed: int = 1
    failure_ratio: float = 0.0
    """The share of requests that fail after their service time."""
    failure: str = "500"
    """The failure of these requests: a status, of which 307 leads elsewhere, or `reset`."""
    deck: int = 0
    """The number of requests of which exactly the levels' and failures' shares are dealt; 0: each
    request is a draw of its own."""
    rate: float = 0.0
    """Requests per second, on average, beyond which requests get 500; 0: no limit."""
    slots: int = 0
    """The number of requests that a replica serves at a time, while others wait in order; 0: no
    limit."""
    replicas: int = 1
    """The number of replicas; each connection gets one of them by chance."""
    batch: int = 0
    """The most requests of a batch, which starts when the one before ends; 0: no batches."""
    slow_start: float = 0.0
    """Seconds after the first request in which service times are five times as long."""
    gzip: bool = False
    """Whether answers are compressed, whether or not the client accepts that."""
    slowdown: float = 0.0
    """The share by which each other request in flight lengthens a service time."""
    stall_after: float = 0.0
    """Seconds after the first request from which all answers wait, for `stall_for`."""
    stall_for: float = 0.0
    key: str = ""
    """The key that the Authorization header must hold; other requests get 401."""
    port: int = 0


@dataclass(frozen=True)
class Served:
    """One request as the target recorded it, by the target's clock."""

    arrived: float
    answered: float
    service_time: float
    """Seconds that the target meant to take; timers may make it later."""
    status: int
    """The status of the answer; 0 for a reset connection."""
    seed: int | None
    replica: str = ""


def picture() -> bytes:
    """A PNG of 128x128 pixels of noise, of about 50 KB like a real image."""
    image = Image.effect_noise((128, 128), 90).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Target:
    """An HTTP/1.1 server with keep-alive."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._chance = random.Random(behaviour.seed)
        self._began = time.perf_counter()
        self._first: float | None = None
        self._busy = 0
        self._served: list[Served] = []
        self._allowed = ALLOWED_AT_ONCE * behaviour.rate
        self._counted = self._began
        count = behaviour.slots or 10**9
        self._slots = [asyncio.Semaphore(count) for _ in range(behaviour.replicas)]
        self._waiting: asyncio.Queue[asyncio.Future[float]] = asyncio.Queue()
        self._times: list[float] = []
        self._failures: list[bool] = []
        body = {"images": [base64.b64encode(picture()).decode()], "format": "png"}
        self._answer = json.dumps(body | {"width": 128, "height": 128}).encode()
        self._headers: list[str] = []
        if behaviour.gzip:
            self._answer = gzip.compress(self._answer, 1)
            self._headers.append("content-encoding: gzip")

    async def serve(self) -> None:
        """Prints the port, and serves for ever."""
        self._batches = asyncio.create_task(self._serve_batches())
        server = await asyncio.start_server(
            self._talk, "127.0.0.1", self._behaviour.port, backlog=BACKLOG
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replica = self._chance.randrange(self._behaviour.replicas)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                _, _, rest = head.partition("content-length: ")
                body = await reader.readexactly(int(rest.split("\r\n")[0]) if rest else 0)
                path = head.split(" ", 2)[1]
                if path == "/predict":
                    await self._predict(head, body, writer, replica)
                elif path == "/elsewhere":
                    now = time.perf_counter()
                    self._served.append(Served(now, now, 0.0, 200, None, "elsewhere"))
                    _write(writer, 200, self._answer)
                else:
                    _write(writer, 200, self._tell(path))
                await writer.drain()
        writer.close()

    def _tell(self, path: str) -> bytes:
        if path == "/served":
            return json.dumps([list(asdict(served).values()) for served in self._served]).encode()
        about = {
            "backend": "known",
            "revision": "r1",
            "uptime_seconds": time.perf_counter() - self._began,
        }
        return json.dumps(about if path == "/about" else {}).encode()

    async def _predict(
        self, head: str, body: bytes, writer: asyncio.StreamWriter, replica: int
    ) -> None:
        arrived = time.perf_counter()
        self._first = arrived if self._first is None else self._first
        if self._behaviour.key and f"bearer {self._behaviour.key}" not in head:
            _write(writer, 401, b"{}")
            return
        failed = self._fails()
        self._busy += 1
        try:
            queued, service_time = await self._take_time(arrived, replica)
            await asyncio.sleep(self._stalled())
        finally:
            self._busy -= 1
        timing = f"queue;dur={queued * 1000:.3f}, denoise;dur={service_time * 800:.3f}"
        timing += f", vae;dur={service_time * 200:.3f}, text_encoder;dur=0, encode;dur=0"
        name = f"replica-{replica}"
        headers = [f"server-timing: {timing}", f"diffusion-replica: {name}"]
        status = 200 if not failed else 0 if failed == "reset" else int(failed)
        if not status:
            writer.transport.abort()
        elif status == 200:
            _write(writer, 200, self._answer, *headers, *self._headers)
        else:
            _write(writer, status, b"{}", *headers, "location: /elsewhere")
        if status:
            await writer.drain()
        seed = json.loads(body).get("seed")
        served = Served(arrived, time.perf_counter(), service_time, status, seed, name)
        self._served.append(served)

    async def _take_time(self, arrived: float, replica: int) -> tuple[float, float]:
        """Returns after the request's service, with the time that it waited and was served."""
        if self._behaviour.batch:
            done = asyncio.get_running_loop().create_future()
            self._waiting.put_nowait(done)
            service_time = await done
            return time.perf_counter() - arrived - service_time, service_time
        service_time = self._service_time()
        async with self._slots[replica]:
            queued = time.perf_counter() - arrived
            await asyncio.sleep(service_time)
        return queued, service_time

    async def _serve_batches(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < self._behaviour.batch and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            service_time = self._service_time()
            await asyncio.sleep(service_time)
            for done in batch:
                done.set_result(service_time)

    def _service_time(self) -> float:
        behaviour = self._behaviour
        if behaviour.levels:
            drawn = self._level()
        else:
            drawn = behaviour.median * self._chance.lognormvariate(0.0, behaviour.sigma)
        slowed = drawn * (1 + behaviour.slowdown * self._busy)
        if time.perf_counter() - (self._first or 0.0) < behaviour.slow_start:
            slowed *= SLOW_START
        return min(slowed, behaviour.longest)

    def _level(self) -> float:
        times, weights = zip(*self._behaviour.levels, strict=True)
        if not self._behaviour.deck:
            return float(self._chance.choices(times, weights)[0])
        if not self._times:
            share = self._behaviour.deck / sum(weights)
            pairs = zip(times, weights, strict=True)
            self._times = [each for each, weight in pairs for _ in range(round(weight * share))]
            self._chance.shuffle(self._times)
        return self._times.pop()

    def _fails(self) -> str:
        """The request's failure; empty if it succeeds."""
        behaviour = self._behaviour
        if self._is_too_much():
            return "500"
        if not behaviour.deck:
            return behaviour.failure if self._chance.random() < behaviour.failure_ratio else ""
        if not self._failures:
            count = round(behaviour.failure_ratio * behaviour.deck)
            self._failures = [n < count for n in range(behaviour.deck)]
            self._chance.shuffle(self._failures)
        return behaviour.failure if self._failures.pop() else ""

    def _is_too_much(self) -> bool:
        """Whether the request exceeds the rate, by a token bucket."""
        rate, now = self._behaviour.rate, time.perf_counter()
        if not rate:
            return False
        allowed = self._allowed + rate * (now - self._counted)
        self._allowed, self._counted = min(allowed, ALLOWED_AT_ONCE * rate), now
        if self._allowed < 1:
            return True
        self._allowed -= 1
        return False

    def _stalled(self) -> float:
        """Seconds that an answer which is ready now still has to wait."""
        since = time.perf_counter() - (self._first or 0.0)
        begin = self._behaviour.stall_after
        end = begin + self._behaviour.stall_for
        return end - since if begin <= since < end else 0.0


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, *headers: str) -> None:
    length = f"content-length: {len(body)}"
    head = (f"HTTP/1.1 {status} X", "content-type: application/json", length, *headers)
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)


@dataclass(frozen=True)
class KnownTarget:
    """A running target."""

    url: str
    process: "subprocess.Popen[str]"

    def served(self) -> list[Served]:
        """The requests that the target has answered so far, in the order of the answers."""
        with urllib.request.urlopen(f"{self.url}/served", timeout=30) as answer:
            return [Served(*fields) for fields in json.load(answer)]


@contextmanager
def known_target(**behaviour: Any) -> Iterator[KnownTarget]:
    """Runs a target of that behaviour for the time of the context."""
    command = [sys.executable, str(Path(__file__)), json.dumps(behaviour)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield KnownTarget(f"http://127.0.0.1:{process.stdout.readline().strip()}", process)
        finally:
            process.kill()


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; its own code, since it judges the one under test."""
    ordered = sorted(values)
    return ordered[max(1, int(-(-len(ordered) * percent // 100))) - 1]


def noise(lateness: Sequence[float]) -> float:
    """Seconds by which a target's record and its client's figure may differ for lack of a core.

    Both processes wait for cores, rarely where they have priority. The lateness of the target's own
    timers shows how long; the client's is a multiple of it at times.
    """
    return (0.0 if is_strict() else 0.02) + 5 * nearest_rank(lateness, 95)


if __name__ == "__main__":
    go_ahead()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Target(Behaviour(**json.loads(sys.argv[1]))).serve())
