"""The executor that generates all the load in this process."""

from collections.abc import Sequence

import gevent
from gevent.event import Event

from diffusion_loadtest.load.generator import LoadGenerator, locust_environment
from diffusion_loadtest.load.load_level import LoadLevel
from diffusion_loadtest.load.request_sender import RequestSender
from diffusion_loadtest.measure.client_monitor import ClientMonitor
from diffusion_loadtest.measure.client_saturation import ClientUsage
from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import LoadPlan


class LocalExecutor:
    """Generates all the load in this process."""

    def __init__(self, plan: LoadPlan, prompts: tuple[str, ...], api_key: str | None) -> None:
        self.environment = locust_environment(plan)
        self.exhausted = Event()
        self.lost_workers = 0
        self.connected = 1
        self._sender = RequestSender(plan, prompts, api_key)
        self._generator = LoadGenerator(
            self._sender, self.environment, self.environment.create_local_runner()
        )
        self._monitor = ClientMonitor()
        gevent.spawn(self._monitor.run, self._sender.clock)

    @property
    def active(self) -> int:
        return self._generator.active

    def wait_ready(self, seconds: float) -> None:
        """Returns at once: this process is its own only worker."""

    def begin(self) -> None:
        self._monitor.take()
        self._generator.begin()

    def apply(self, level: LoadLevel) -> None:
        self._generator.apply(level)

    def drain(self) -> None:
        self._generator.drain()

    def abort(self) -> None:
        self._generator.abort()

    def close(self) -> None:
        self._sender.clock.end()

    def samples(self) -> Sequence[Samples]:
        return (self._sender.samples,)

    def client_usage(self) -> Sequence[Sequence[ClientUsage]]:
        return (self._monitor.seconds,)
