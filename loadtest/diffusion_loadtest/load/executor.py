"""The interface of an executor, which generates the load."""

from collections.abc import Sequence
from typing import Protocol

from gevent.event import Event
from locust.env import Environment

from diffusion_loadtest.load.load_level import LoadLevel
from diffusion_loadtest.measure.client_saturation import ClientUsage
from diffusion_loadtest.measure.samples import Samples


class WorkersMissingError(Exception):
    """Too few workers connected in time; the message says how many and what to do."""


class Executor(Protocol):
    """Generates load at the level applied last, and holds the samples of the load so far."""

    environment: Environment
    exhausted: Event
    """Set when no worker is left to generate load."""
    lost_workers: int
    """The number of workers lost since all were ready."""

    @property
    def connected(self) -> int:
        """The number of workers that are connected."""

    @property
    def active(self) -> int:
        """Active users or, in the open loop, requests in flight."""

    def wait_ready(self, seconds: float) -> None:
        """Waits until every worker is connected.

        Raises:
            WorkersMissingError: A worker is missing after `seconds`.
        """

    def begin(self) -> None:
        """Starts the load's time at second 0, with nothing recorded and no load."""

    def apply(self, level: LoadLevel) -> None:
        """Generates load at this level from now on."""

    def drain(self) -> None:
        """Ends the load and waits for the responses, each up to its timeout."""

    def abort(self) -> None:
        """Ends the load at once; requests in flight are neither awaited nor counted."""

    def close(self) -> None:
        """Ends the load's time and dismisses the workers."""

    def samples(self) -> Sequence[Samples]:
        """The samples of each worker."""

    def client_usage(self) -> Sequence[Sequence[ClientUsage]]:
        """The client usage of each worker, second by second."""
