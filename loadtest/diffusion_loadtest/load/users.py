"""The Locust user: a closed loop of request and pause."""

from collections.abc import Callable

from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from diffusion_loadtest.load.load_level import Order
from diffusion_loadtest.load.request_sender import Load
from diffusion_loadtest.measure.samples import SUCCESS, Sample


class RequestFailedError(Exception):
    """What Locust's own statistics list a failure as; its text is the kind of failure."""


class DiffusionUser(User):
    """Sends a random prompt, waits for the answer, thinks, and so on until it is retired."""

    abstract = True
    load: Load
    current_order: Callable[[], Order]
    retired = False

    def on_start(self) -> None:
        self._random = self.load.new_random()
        self._connection = self.load.new_connection()

    def on_stop(self) -> None:
        self._connection.close()

    def wait_time(self) -> float:
        think = self.load.plan.think
        return self._random.uniform(think.min_seconds, think.max_seconds)

    def retire(self) -> None:
        """Let the user go once the answer that it waits for, if any, has come."""
        self.retired = True

    @task
    def predict(self) -> None:
        if self.retired:
            raise StopUser
        sample, length = self.load.request(self._connection, self._random, self.current_order())
        tell_locust(self.environment, sample, length)
        if self.retired:
            raise StopUser


def tell_locust(environment: Environment, sample: Sample, length: int) -> None:
    """For Locust's own page and its listeners; none of the report's figures comes from there."""
    failed = sample.failure is not SUCCESS
    environment.events.request.fire(
        request_type="POST",
        name="/predict",
        response_time=sample.latency * 1000,
        response_length=length,
        exception=RequestFailedError(sample.failure) if failed else None,
        context={},
    )


def user_class(load: Load, current_order: Callable[[], Order]) -> type[DiffusionUser]:
    """A user class for one run: Locust makes its users itself and passes them nothing."""
    members = {"load": load, "current_order": staticmethod(current_order)}
    return type("BoundDiffusionUser", (DiffusionUser,), members)
