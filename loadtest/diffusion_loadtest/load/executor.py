"""Those who make the load, of whatever kind."""

from collections.abc import Sequence
from typing import Protocol

from gevent.event import Event
from locust.env import Environment

from diffusion_loadtest.load.load_level import Order
from diffusion_loadtest.measure.client_saturation import Second
from diffusion_loadtest.measure.samples import Samples


class WorkersMissingError(Exception):
    """Not all workers came in time; the message is a sentence that says what to do."""


class Executor(Protocol):
    """Makes load as it is told, and has what came of it since it last began."""

    environment: Environment
    gone: Event
    """Set when nobody is left to make any load."""
    lost: int
    """How many have gone away since they were assembled."""

    @property
    def connected(self) -> int:
        """How many are there."""

    @property
    def busy(self) -> int:
        """Users at work, or, of arrivals, requests in flight."""

    def assemble(self, seconds: float) -> None:
        """Wait until all are there; raises WorkersMissingError after `seconds`."""

    def begin(self) -> None:
        """It is second 0: start anew, with nothing recorded and no load."""

    def obey(self, order: Order) -> None:
        """Make that load from now on."""

    def drain(self) -> None:
        """End the load; return when all is answered, or has not been within its timeout."""

    def abort(self) -> None:
        """End the load at once; what has no answer yet is neither awaited nor counted."""

    def close(self) -> None:
        """Let everybody go."""

    def recorded(self) -> Sequence[Samples]:
        """What each has recorded."""

    def busyness(self) -> Sequence[Sequence[Second]]:
        """How busy each was."""
