"""The executor that spreads the load over workers, connected by Locust's own protocol."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message
from locust.runners import STATE_MISSING

from diffusion_loadtest.load.executor import WorkersMissingError
from diffusion_loadtest.load.generator import locust_environment
from diffusion_loadtest.load.load_level import LoadLevel, worker_share
from diffusion_loadtest.load.messages import (
    ABORT,
    BEGIN,
    DRAIN,
    DRAINED,
    LEVEL,
    QUIT,
    READY,
    SAMPLES,
)
from diffusion_loadtest.measure.client_saturation import ClientUsage
from diffusion_loadtest.measure.clock import Clock
from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import LoadPlan

_POLL_SECONDS = 0.1
_ABORT_SECONDS = 3.0
_LINGER_MILLISECONDS = 2000


@dataclass
class _Worker:
    """The reports of one worker since the load began."""

    samples: Samples = field(default_factory=Samples)
    client_usage: list[ClientUsage] = field(default_factory=list)
    active: int = 0
    drained: int = 0


class DistributedExecutor:
    """Generates load by workers; each applies its share of every level."""

    def __init__(self, plan: LoadPlan, port: int) -> None:
        self.environment = locust_environment(plan)
        self.exhausted = Event()
        self.lost_workers = 0
        self._run = plan.test.run
        self._expected_workers = plan.workers
        self._clock = Clock()
        self._ready: list[str] = []
        self._workers: dict[str, _Worker] = {}
        self._live: list[str] = []
        self._level: LoadLevel | None = None
        self._begin_number = self._drain_number = 0
        self._runner = self.environment.create_master_runner("*", port)
        listeners: dict[str, Callable[..., None]] = {
            READY: self._on_ready,
            SAMPLES: self._on_samples,
            DRAINED: self._on_drained,
        }
        for kind, listener in listeners.items():
            self._runner.register_message(kind, listener)

    @property
    def connected(self) -> int:
        return len(self._live) if self._workers else sum(map(self._is_live, self._ready))

    @property
    def active(self) -> int:
        return sum(self._workers[name].active for name in self._live)

    def wait_ready(self, seconds: float) -> None:
        with suppress(gevent.Timeout), gevent.Timeout(seconds):
            while self.connected < self._expected_workers:
                gevent.sleep(_POLL_SECONDS)
        if self.connected < self._expected_workers:
            raise WorkersMissingError(
                f"{self.connected} of {self._expected_workers} workers connected within "
                f"{seconds:g} s: look at the pods of the others."
            )
        live = [name for name in self._ready if self._is_live(name)]
        self._live = live[: self._expected_workers]
        self._workers = {name: _Worker() for name in self._live}
        gevent.spawn(self._watch_workers)

    def begin(self) -> None:
        self._begin_number += 1
        self._level = None
        self._workers = {name: _Worker() for name in self._workers}
        self._broadcast(BEGIN, {"begin": self._begin_number})
        self._clock.begin()

    def apply(self, level: LoadLevel) -> None:
        self._level = level
        for index, name in enumerate(self._live):
            self._send(LEVEL, worker_share(level, index, len(self._live)).model_dump(), name)

    def drain(self) -> None:
        self._level = None
        self._await_drained(DRAIN)

    def abort(self) -> None:
        self._level = None
        with suppress(gevent.Timeout), gevent.Timeout(_ABORT_SECONDS):
            self._await_drained(ABORT)

    def close(self) -> None:
        self._clock.end()
        for name in self._ready:
            self._send(QUIT, None, name)
        self._runner.greenlet.kill(block=True)
        self._runner.server.close(linger=_LINGER_MILLISECONDS)

    def samples(self) -> Sequence[Samples]:
        return [worker.samples for worker in self._workers.values()]

    def client_usage(self) -> Sequence[Sequence[ClientUsage]]:
        return [worker.client_usage for worker in self._workers.values()]

    def _await_drained(self, kind: str) -> None:
        self._drain_number += 1
        self._broadcast(kind, {"drain": self._drain_number})
        while any(self._workers[name].drained < self._drain_number for name in self._live):
            gevent.sleep(_POLL_SECONDS)

    def _broadcast(self, kind: str, data: Mapping[str, Any]) -> None:
        for name in self._live:
            self._send(kind, data, name)

    def _send(self, kind: str, data: Mapping[str, Any] | None, name: str) -> None:
        self._runner.server.send_to_client(Message(kind, data, name))

    def _on_ready(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        # a worker left over from another run has another plan
        if msg.data["run"] == self._run and msg.node_id not in self._ready:
            self._ready.append(msg.node_id)

    def _on_samples(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        worker = self._workers.get(msg.node_id)
        if worker is None or msg.data["begin"] != self._begin_number:
            return
        worker.samples.add(msg.data["samples"])
        worker.client_usage += [ClientUsage(*second) for second in msg.data["seconds"]]
        worker.active = msg.data["active"]

    def _on_drained(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        worker = self._workers.get(msg.node_id)
        if worker is not None:
            worker.drained = max(worker.drained, msg.data["drain"])

    def _watch_workers(self) -> None:
        """Gives the share of lost workers to the others; a lost worker doesn't return."""
        while not self.exhausted.is_set():
            gevent.sleep(_POLL_SECONDS)
            live = [name for name in self._live if self._is_live(name)]
            if len(live) == len(self._live):
                continue
            self.lost_workers += len(self._live) - len(live)
            self._live = live
            if not live:
                self.exhausted.set()
            elif self._level is not None:
                self.apply(_from_now(self._level, self._clock.seconds()))

    def _is_live(self, name: str) -> bool:
        client = self._runner.clients.get(name)
        return client is not None and client.state != STATE_MISSING


def _from_now(level: LoadLevel, now: float) -> LoadLevel:
    """The rest of a level, for workers that take over another's share."""
    arrivals = level.arrivals and level.arrivals.model_copy(update={"begin": now})
    return level.model_copy(update={"arrivals": arrivals})
