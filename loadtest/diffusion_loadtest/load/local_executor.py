"""The executor that makes all the load in this process."""

from collections.abc import Sequence

import gevent
from gevent.event import Event

from diffusion_loadtest.load.generator import Generator, environment_of
from diffusion_loadtest.load.load_level import Order
from diffusion_loadtest.load.request_sender import Load
from diffusion_loadtest.measure.client_monitor import Monitor
from diffusion_loadtest.measure.client_saturation import Second
from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import LoadPlan


class LocalExecutor:
    """One process, this one, makes all the load."""

    def __init__(self, plan: LoadPlan, prompts: tuple[str, ...], api_key: str | None) -> None:
        self.environment = environment_of(plan)
        self.gone = Event()
        self.lost = 0
        self.connected = 1
        self._load = Load(plan, prompts, api_key)
        self._generator = Generator(
            self._load, self.environment, self.environment.create_local_runner()
        )
        self._monitor = Monitor()
        gevent.spawn(self._monitor.watch, self._load.clock)

    @property
    def busy(self) -> int:
        return self._generator.busy

    def assemble(self, seconds: float) -> None:
        """Nobody is to be waited for."""

    def begin(self) -> None:
        self._monitor.take()
        self._generator.begin()

    def obey(self, order: Order) -> None:
        self._generator.obey(order)

    def drain(self) -> None:
        self._generator.drain()

    def abort(self) -> None:
        self._generator.abort()

    def close(self) -> None:
        self._load.clock.end()

    def recorded(self) -> Sequence[Samples]:
        return (self._load.samples,)

    def busyness(self) -> Sequence[Sequence[Second]]:
        return (self._monitor.seconds,)
