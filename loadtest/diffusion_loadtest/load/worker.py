"""One of several processes that make the load, as their master says, which gets the samples."""

import signal
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import Greenlet
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message

from diffusion_loadtest.load.generator import Generator, environment_of
from diffusion_loadtest.load.load_level import Order
from diffusion_loadtest.load.messages import ABORT, BEGIN, DRAIN, DRAINED, ORDER, OVER, READY, SEEN
from diffusion_loadtest.load.request_sender import Load
from diffusion_loadtest.measure.client_monitor import Monitor
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.target.readiness import try_out

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
MASTER_SECONDS = 10.0
"""Without a word from its master for so long, a worker stops: nobody would see what it does."""

_REPORT_SECONDS = 0.5
_LOOK_SECONDS = 0.25
_LINGER_MILLISECONDS = 1000


class Worker:
    """Serves one master."""

    def __init__(
        self, plan: LoadPlan, prompts: tuple[str, ...], api_key: str | None, master: tuple[str, int]
    ) -> None:
        self._plan, self._prompts, self._api_key = plan, prompts, api_key
        self._master = master
        self._over = Event()
        self._interrupted = Event()
        self._begun = 0

    def serve(self) -> bool:
        """Do as the master says until it is over; False if the master is not there any more, or
        if a signal came.
        """
        for number in STOP_SIGNALS:
            gevent.signal_handler(number, self._interrupted.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        connecting = gevent.spawn(self._connect)
        either: list[Greenlet[..., bool] | Event] = [connecting, self._interrupted]
        gevent.wait(either, count=1)
        if not connecting.ready():
            return False
        if not connecting.get():
            return False
        while not self._over.wait(_LOOK_SECONDS):
            if self._interrupted.is_set() or self._master_is_lost():
                break
        self._generator.abort()
        self._report()
        if not self._over.is_set():
            self._environment.events.quitting.fire(environment=self._environment)
        self._runner.greenlet.kill(block=True)
        self._runner.client.close(linger=_LINGER_MILLISECONDS)
        return self._over.is_set()

    def _connect(self) -> bool:
        self._environment = environment_of(self._plan)
        try:
            self._runner = self._environment.create_worker_runner(*self._master)
        except ConnectionError:
            return False
        self._load = Load(self._plan, self._prompts, self._api_key, f"{self._runner.worker_index}")
        self._generator = Generator(self._load, self._environment, self._runner)
        self._monitor = Monitor()
        listeners: dict[str, Callable[..., None]] = {
            BEGIN: self._on_begin,
            ORDER: self._on_order,
            DRAIN: self._on_drain,
            ABORT: self._on_abort,
            OVER: self._on_over,
        }
        for kind, listener in listeners.items():
            self._runner.register_message(kind, listener)
        gevent.spawn(self._monitor.watch, self._load.clock)
        gevent.spawn(self._report_again_and_again)
        try_out(self._plan.target.url)
        self._send(READY, {"run": self._plan.test.run})
        return True

    def _master_is_lost(self) -> bool:
        last = self._runner.last_heartbeat_timestamp
        return last is not None and time.time() - last > MASTER_SECONDS

    def _report_again_and_again(self) -> None:
        while True:
            gevent.sleep(_REPORT_SECONDS)
            self._report()

    def _report(self) -> None:
        self._send(
            SEEN,
            {
                "begun": self._begun,
                "samples": self._load.samples.take(),
                "seconds": self._monitor.take(),
                "busy": self._generator.busy,
            },
        )

    def _send(self, kind: str, data: dict[str, Any]) -> None:
        self._runner.client.send(Message(kind, data, self._runner.client_id))

    def _on_begin(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        self._begun = msg.data["begun"]
        self._monitor.take()
        self._generator.begin()

    def _on_order(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        self._generator.obey(Order.model_validate(msg.data))

    def _on_drain(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        gevent.spawn(self._finish, self._generator.drain, msg.data["drain"])

    def _on_abort(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        gevent.spawn(self._finish, self._generator.abort, msg.data["drain"])

    def _finish(self, end_load: Callable[[], None], number: int) -> None:
        end_load()
        self._report()
        self._send(DRAINED, {"drain": number})

    def _on_over(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        self._over.set()
