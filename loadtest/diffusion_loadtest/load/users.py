"""The Locust user: a closed loop of request and pause."""

from collections.abc import Callable

from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from diffusion_loadtest.load.load_level import LoadLevel
from diffusion_loadtest.load.request_sender import RequestSender
from diffusion_loadtest.measure.samples import SUCCESS, Sample
from diffusion_loadtest.target.retry_after import pause_after


class RequestFailedError(Exception):
    """A failed request in Locust's own statistics; the text is the kind of failure."""


class DiffusionUser(User):
    """Sends a random prompt, waits for the response, thinks, and repeats until retired.

    After a refusal the user pauses for as long as the target asks.
    """

    abstract = True
    sender: RequestSender
    current_level: Callable[[], LoadLevel]
    retired = False
    _pause = 0.0

    def on_start(self) -> None:
        self._random = self.sender.new_random()
        self._connection = self.sender.new_connection()

    def on_stop(self) -> None:
        self._connection.close()

    def wait_time(self) -> float:
        think = self.sender.plan.think
        return max(self._pause, self._random.uniform(think.min_seconds, think.max_seconds))

    def retire(self) -> None:
        """Ends the user once the response to its request in flight, if any, has arrived."""
        self.retired = True

    @task
    def predict(self) -> None:
        if self.retired:
            raise StopUser
        sample, length = self.sender.send(self._connection, self._random, self.current_level())
        fire_request_event(self.environment, sample, length)
        wish = self._connection.retry_after_seconds
        self._pause = pause_after(sample.failure, wish, self._random)
        if self.retired:
            raise StopUser


def fire_request_event(environment: Environment, sample: Sample, length: int) -> None:
    """Informs Locust's page and its listeners; the report's figures come from samples alone."""
    failed = sample.failure is not SUCCESS
    environment.events.request.fire(
        request_type="POST",
        name="/predict",
        response_time=sample.latency * 1000,
        response_length=length,
        exception=RequestFailedError(sample.failure) if failed else None,
        context={},
    )


def user_class(
    sender: RequestSender, current_level: Callable[[], LoadLevel]
) -> type[DiffusionUser]:
    """A user class for one run: Locust creates its users itself and passes no arguments."""
    members = {"sender": sender, "current_level": staticmethod(current_level)}
    return type("BoundDiffusionUser", (DiffusionUser,), members)
