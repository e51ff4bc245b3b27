"""A target whose latencies are known, in a process of its own, which records what it served.

`python known_target.py '{"median": 0.3, …}'` prints its port and serves until it is killed.
"""

import asyncio
import base64
import contextlib
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
"""More connections at once than any test opens."""

ALLOWED_AT_ONCE = 0.5
"""A rate may be exceeded for a moment by what it allows in so many seconds."""


@dataclass(frozen=True)
class Behaviour:
    """How it answers. Times are seconds."""

    median: float = 0.3
    """Of the log-normal service times."""
    sigma: float = 0.0
    """Of their logarithms; 0: all the same."""
    levels: tuple[tuple[float, float], ...] = ()
    """Instead: service times to choose from, and how often each is chosen."""
    longest: float = 5.0
    """No service time is longer."""
    seed: int = 1
    failure_ratio: float = 0.0
    """So many are refused with 500 after their service time."""
    rate: float = 0.0
    """So many a second are served, on average; what is more is refused with 500. 0: all."""
    slots: int = 0
    """So many are served at a time, the others wait in order; 0: all."""
    slowdown: float = 0.0
    """Each other request under way makes a service time longer by this share."""
    stall_after: float = 0.0
    """So long after the first request all answers are held back for `stall_for`."""
    stall_for: float = 0.0
    key: str = ""
    """Without it in the Authorization header a request is refused with 401."""
    port: int = 0


@dataclass(frozen=True)
class Served:
    """What it saw of one request, by its own clock; `wanted` is the service time it set out for."""

    arrived: float
    answered: float
    wanted: float
    status: int
    seed: int | None


def picture() -> bytes:
    """A PNG of 128x128 pixels of noise, which makes for some 50 KB as a real image does."""
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
        self._slots = asyncio.Semaphore(behaviour.slots or 10**9)
        body = {"images": [base64.b64encode(picture()).decode()], "format": "png"}
        self._answer = json.dumps(body | {"width": 128, "height": 128}).encode()

    async def serve(self) -> None:
        """Print the port and serve for ever."""
        server = await asyncio.start_server(
            self._talk, "127.0.0.1", self._behaviour.port, backlog=BACKLOG
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                _, _, rest = head.partition("content-length: ")
                body = await reader.readexactly(int(rest.split("\r\n")[0]) if rest else 0)
                path = head.split(" ", 2)[1]
                if path == "/predict":
                    await self._predict(head, body, writer)
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

    async def _predict(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        arrived = time.perf_counter()
        self._first = arrived if self._first is None else self._first
        if self._behaviour.key and f"bearer {self._behaviour.key}" not in head:
            _write(writer, 401, b"{}")
            return
        wanted, status = self._draw()
        self._busy += 1
        try:
            async with self._slots:
                queued = time.perf_counter() - arrived
                await asyncio.sleep(wanted)
            await asyncio.sleep(self._stalled())
        finally:
            self._busy -= 1
        timing = f"queue;dur={queued * 1000:.3f}, denoise;dur={wanted * 800:.3f}"
        timing += f", vae;dur={wanted * 200:.3f}, text_encoder;dur=0, encode;dur=0"
        _write(writer, status, self._answer if status == 200 else b"{}", timing)
        await writer.drain()
        seed = json.loads(body).get("seed")
        self._served.append(Served(arrived, time.perf_counter(), wanted, status, seed))

    def _draw(self) -> tuple[float, int]:
        behaviour = self._behaviour
        if behaviour.levels:
            times, weights = zip(*behaviour.levels, strict=True)
            drawn = self._chance.choices(times, weights)[0]
        else:
            drawn = behaviour.median * self._chance.lognormvariate(0.0, behaviour.sigma)
        slowed = drawn * (1 + behaviour.slowdown * self._busy)
        failed = self._chance.random() < behaviour.failure_ratio or self._is_too_much()
        return min(slowed, behaviour.longest), 500 if failed else 200

    def _is_too_much(self) -> bool:
        """Whether more come than the rate allows, by a bucket of what it has allowed so far."""
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
        """How long an answer that is ready now is still held back."""
        since = time.perf_counter() - (self._first or 0.0)
        begin = self._behaviour.stall_after
        end = begin + self._behaviour.stall_for
        return end - since if begin <= since < end else 0.0


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, timing: str = "") -> None:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    if timing:
        head += f"\r\nserver-timing: {timing}"
    writer.write(head.encode() + b"\r\n\r\n" + body)


@dataclass(frozen=True)
class KnownTarget:
    """A target that runs."""

    url: str
    process: "subprocess.Popen[str]"

    def served(self) -> list[Served]:
        """All that it has answered so far, in the order of its answers."""
        with urllib.request.urlopen(f"{self.url}/served", timeout=30) as answer:
            return [Served(*fields) for fields in json.load(answer)]


@contextmanager
def known_target(**behaviour: Any) -> Iterator[KnownTarget]:
    """A target of that behaviour, which is gone afterwards."""
    command = [sys.executable, str(Path(__file__)), json.dumps(behaviour)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield KnownTarget(f"http://127.0.0.1:{process.stdout.readline().strip()}", process)
        finally:
            process.kill()


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile, written anew here, since it judges the one under test."""
    ordered = sorted(values)
    return ordered[max(1, int(-(-len(ordered) * percent // 100))) - 1]


def noise(lateness: Sequence[float]) -> float:
    """Seconds that the machine may put between what a target recorded and what its client saw.

    Each waits for a core, seldom where both go ahead of all others; how long, the lateness of the
    target's own timers tells, of which the client's is a multiple at times.
    """
    return (0.0 if is_strict() else 0.02) + 5 * nearest_rank(lateness, 95)


if __name__ == "__main__":
    go_ahead()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Target(Behaviour(**json.loads(sys.argv[1]))).serve())
