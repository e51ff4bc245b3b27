"""A worker process, which generates its share of the load and reports samples to its master."""

import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import Greenlet
from gevent.event import Event
from locust.env import Environment
from locust.rpc import Message

from diffusion_loadtest.load.generator import LoadGenerator, locust_environment
from diffusion_loadtest.load.load_level import LoadLevel
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
from diffusion_loadtest.load.request_sender import RequestSender
from diffusion_loadtest.load.stop_signals import on_stop_signal
from diffusion_loadtest.measure.client_monitor import ClientMonitor
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.target.readiness import warm_up_client

MASTER_SECONDS = 10.0
"""A worker stops after so long without a heartbeat of its master, which gets the samples."""

_REPORT_SECONDS = 0.5
_POLL_SECONDS = 0.25
_LINGER_MILLISECONDS = 1000


class Worker:
    """Serves one master."""

    def __init__(
        self, plan: LoadPlan, prompts: tuple[str, ...], api_key: str | None, master: tuple[str, int]
    ) -> None:
        self._plan, self._prompts, self._api_key = plan, prompts, api_key
        self._master = master
        self._quit = Event()
        self._interrupted = Event()
        self._begin_number = 0

    def serve(self) -> bool:
        """Generates load for the master until the run is over.

        Returns:
            False if the master is lost or a signal arrived before the end of the run.
        """
        on_stop_signal(self._interrupted.set)
        connecting = gevent.spawn(self._connect)
        events: list[Greenlet[..., bool] | Event] = [connecting, self._interrupted]
        gevent.wait(events, count=1)
        if not connecting.ready():
            return False
        if not connecting.get():
            return False
        while not self._quit.wait(_POLL_SECONDS):
            if self._interrupted.is_set() or self._master_is_lost():
                break
        self._generator.abort()
        self._report()
        if not self._quit.is_set():
            self._environment.events.quitting.fire(environment=self._environment)
        self._runner.greenlet.kill(block=True)
        self._runner.client.close(linger=_LINGER_MILLISECONDS)
        return self._quit.is_set()

    def _connect(self) -> bool:
        self._environment = locust_environment(self._plan)
        try:
            self._runner = self._environment.create_worker_runner(*self._master)
        except ConnectionError:
            return False
        self._sender = RequestSender(
            self._plan, self._prompts, self._api_key, f"{self._runner.worker_index}"
        )
        self._generator = LoadGenerator(self._sender, self._environment, self._runner)
        self._monitor = ClientMonitor()
        listeners: dict[str, Callable[..., None]] = {
            BEGIN: self._on_begin,
            LEVEL: self._on_level,
            DRAIN: self._on_drain,
            ABORT: self._on_abort,
            QUIT: self._on_quit,
        }
        for kind, listener in listeners.items():
            self._runner.register_message(kind, listener)
        gevent.spawn(self._monitor.run, self._sender.clock)
        gevent.spawn(self._report_periodically)
        warm_up_client(self._plan.target.url)
        self._send(READY, {"run": self._plan.test.run})
        return True

    def _master_is_lost(self) -> bool:
        last = self._runner.last_heartbeat_timestamp
        return last is not None and time.time() - last > MASTER_SECONDS

    def _report_periodically(self) -> None:
        while True:
            gevent.sleep(_REPORT_SECONDS)
            self._report()

    def _report(self) -> None:
        self._send(
            SAMPLES,
            {
                "begin": self._begin_number,
                "samples": self._sender.samples.take(),
                "seconds": self._monitor.take(),
                "active": self._generator.active,
            },
        )

    def _send(self, kind: str, data: dict[str, Any]) -> None:
        self._runner.client.send(Message(kind, data, self._runner.client_id))

    def _on_begin(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        self._begin_number = msg.data["begin"]
        self._monitor.take()
        self._generator.begin()

    def _on_level(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        self._generator.apply(LoadLevel.model_validate(msg.data))

    def _on_drain(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        gevent.spawn(self._finish, self._generator.drain, msg.data["drain"])

    def _on_abort(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        gevent.spawn(self._finish, self._generator.abort, msg.data["drain"])

    def _finish(self, end_load: Callable[[], None], number: int) -> None:
        end_load()
        self._report()
        self._send(DRAINED, {"drain": number})

    def _on_quit(self, environment: Environment, msg: Message) -> None:  # noqa: ARG002  Locust's
        self._quit.set()
