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
from diffusion_loadtest.load.generator import environment_of
from diffusion_loadtest.load.load_level import Order, share
from diffusion_loadtest.load.messages import ABORT, BEGIN, DRAIN, DRAINED, ORDER, OVER, READY, SEEN
from diffusion_loadtest.measure.client_saturation import Second
from diffusion_loadtest.measure.clock import Clock
from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import LoadPlan

_LOOK_SECONDS = 0.1
_ABORT_SECONDS = 3.0
_LINGER_MILLISECONDS = 2000


@dataclass
class _Member:
    samples: Samples = field(default_factory=Samples)
    seconds: list[Second] = field(default_factory=list)
    busy: int = 0
    drained: int = 0


class DistributedExecutor:
    """The workers of a master; each gets its share of every order."""

    def __init__(self, plan: LoadPlan, port: int) -> None:
        self.environment = environment_of(plan)
        self.gone = Event()
        self.lost = 0
        self._run = plan.test.run
        self._wanted = plan.workers
        self._clock = Clock()
        self._ready: list[str] = []
        self._team: dict[str, _Member] = {}
        self._there: list[str] = []
        self._order: Order | None = None
        self._begun = self._drains = 0
        self._runner = self.environment.create_master_runner("*", port)
        listeners: dict[str, Callable[..., None]] = {
            READY: self._on_ready,
            SEEN: self._on_seen,
            DRAINED: self._on_drained,
        }
        for kind, listener in listeners.items():
            self._runner.register_message(kind, listener)

    @property
    def connected(self) -> int:
        return len(self._there) if self._team else sum(map(self._is_there, self._ready))

    @property
    def busy(self) -> int:
        return sum(self._team[name].busy for name in self._there)

    def assemble(self, seconds: float) -> None:
        with suppress(gevent.Timeout), gevent.Timeout(seconds):
            while self.connected < self._wanted:
                gevent.sleep(_LOOK_SECONDS)
        if self.connected < self._wanted:
            raise WorkersMissingError(
                f"{self.connected} of {self._wanted} workers came within {seconds:g} s: "
                "look at the others' pods."
            )
        self._there = [name for name in self._ready if self._is_there(name)][: self._wanted]
        self._team = {name: _Member() for name in self._there}
        gevent.spawn(self._watch)

    def begin(self) -> None:
        self._begun += 1
        self._order = None
        self._team = {name: _Member() for name in self._team}
        self._tell(BEGIN, {"begun": self._begun})
        self._clock.begin()

    def obey(self, order: Order) -> None:
        self._order = order
        for index, name in enumerate(self._there):
            self._send(ORDER, share(order, index, len(self._there)).model_dump(), name)

    def drain(self) -> None:
        self._order = None
        self._await_end(DRAIN)

    def abort(self) -> None:
        self._order = None
        with suppress(gevent.Timeout), gevent.Timeout(_ABORT_SECONDS):
            self._await_end(ABORT)

    def close(self) -> None:
        self._clock.end()
        self._tell(OVER, None)
        self._runner.greenlet.kill(block=True)
        self._runner.server.close(linger=_LINGER_MILLISECONDS)

    def recorded(self) -> Sequence[Samples]:
        return [member.samples for member in self._team.values()]

    def busyness(self) -> Sequence[Sequence[Second]]:
        return [member.seconds for member in self._team.values()]

    def _await_end(self, kind: str) -> None:
        self._drains += 1
        self._tell(kind, {"drain": self._drains})
        while any(self._team[name].drained < self._drains for name in self._there):
            gevent.sleep(_LOOK_SECONDS)

    def _tell(self, kind: str, data: Mapping[str, Any] | None) -> None:
        for name in self._ready if kind == OVER else self._there:
            self._send(kind, data, name)

    def _send(self, kind: str, data: Mapping[str, Any] | None, name: str) -> None:
        self._runner.server.send_to_client(Message(kind, data, name))

    def _on_ready(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        # one that is left over from another run has another plan
        if msg.data["run"] == self._run and msg.node_id not in self._ready:
            self._ready.append(msg.node_id)

    def _on_seen(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        member = self._team.get(msg.node_id)
        if member is None or msg.data["begun"] != self._begun:
            return
        member.samples.add(msg.data["samples"])
        member.seconds += [Second(*second) for second in msg.data["seconds"]]
        member.busy = msg.data["busy"]

    def _on_drained(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        member = self._team.get(msg.node_id)
        if member is not None:
            member.drained = max(member.drained, msg.data["drain"])

    def _watch(self) -> None:
        """Let the others take over from those that went away, of whom nobody comes back."""
        while not self.gone.is_set():
            gevent.sleep(_LOOK_SECONDS)
            there = [name for name in self._there if self._is_there(name)]
            if len(there) == len(self._there):
                continue
            self.lost += len(self._there) - len(there)
            self._there = there
            if not there:
                self.gone.set()
            elif self._order is not None:
                self.obey(_from_now(self._order, self._clock.seconds()))

    def _is_there(self, name: str) -> bool:
        client = self._runner.clients.get(name)
        return client is not None and client.state != STATE_MISSING


def _from_now(order: Order, now: float) -> Order:
    """The rest of an order, for others than it was given to."""
    arrivals = order.arrivals and order.arrivals.model_copy(update={"begin": now})
    return order.model_copy(update={"arrivals": arrivals})
