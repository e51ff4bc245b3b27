"""Makes the load that it is ordered to make, in this process, with Locust's users.

Locust's own LoadTestShape looks at the clock once a second, blocks while users are added and lets
each departing user's last request hold up the next; the moments here are exact instead.
"""

from collections import deque

import gevent
from gevent.pool import Group
from locust.env import Environment
from locust.runners import Runner

from diffusion_loadtest.load.arrivals import arrival_times
from diffusion_loadtest.load.load_level import ArrivalOrder, Order
from diffusion_loadtest.load.request_sender import Load, is_measured
from diffusion_loadtest.load.users import DiffusionUser, tell_locust, user_class
from diffusion_loadtest.measure.samples import NOT_SENT, Sample
from diffusion_loadtest.plan.load_plan import LoadPlan

MOST_IN_FLIGHT = 5000
"""More than a target's queue will ever hold, and few enough for this process's memory and files."""

_STOP_MARGIN_SECONDS = 5.0
_FOREVER = float("inf")


def environment_of(plan: LoadPlan) -> Environment:
    """Locust's environment; it gets its users from a Generator."""
    timeout = plan.request.timeout_seconds + _STOP_MARGIN_SECONDS
    return Environment(host=plan.target.url, stop_timeout=timeout)


class Generator:
    """The users and the arrivals of one process."""

    def __init__(self, load: Load, environment: Environment, runner: Runner) -> None:
        self._load = load
        self._environment = environment
        self._runner = runner
        self._class = user_class(load, self._current_order)
        environment.user_classes = [self._class]
        self._order = Order(stage=0)
        self._users: list[DiffusionUser] = []
        self._arrivals: _Arrivals | None = None

    def _current_order(self) -> Order:
        return self._order

    def begin(self) -> None:
        """Start anew at second 0, with nothing recorded and no load."""
        self._runner.stats.clear_all()
        self._load.begin()

    def obey(self, order: Order) -> None:
        """Make the load that is ordered from now on; what was due before is still sent."""
        self._end_arrivals()
        self._order = order
        self._set_users(order.users)
        if order.arrivals is not None:
            self._arrivals = _Arrivals(self._load, self._environment, order, order.arrivals)

    def drain(self) -> None:
        """End the load and return when all answers have come, each waited for up to its timeout."""
        arrivals = self._arrivals
        self._end_arrivals()
        self._set_users(0)
        self._runner.stop_users(self._runner.user_classes_count)
        if arrivals is not None:
            arrivals.join(self._environment.stop_timeout)

    def abort(self) -> None:
        """Stop at once: requests without an answer are neither awaited nor counted."""
        if self._arrivals is not None:
            self._arrivals.kill()
        self._set_users(0)
        self._runner.user_greenlets.kill(block=True)

    @property
    def busy(self) -> int:
        """Users at work, or, of arrivals, requests in flight."""
        return len(self._users) if self._arrivals is None else self._arrivals.in_flight

    def _end_arrivals(self) -> None:
        if self._arrivals is not None:
            self._arrivals.until = min(self._arrivals.until, self._load.clock.seconds())

    def _set_users(self, users: int) -> None:
        while len(self._users) > users:
            self._users.pop().retire()
        if missing := users - len(self._users):
            self._users += self._runner.spawn_users({self._class.__name__: missing})
            self._environment.events.spawning_complete.fire(user_count=users)


class _Arrivals:
    """Requests that are sent when they are due, each by a greenlet of its own.

    Those due before `until` are sent even when that has passed: to leave out what is late would
    leave out what the target made late.
    """

    def __init__(
        self, load: Load, environment: Environment, order: Order, arrivals: ArrivalOrder
    ) -> None:
        self.until = _FOREVER
        self._load = load
        self._environment = environment
        self._order = order
        # those without a request, the one used last at the end
        self._idle = deque([load.new_connection()])
        self._random = load.new_random()
        self._requests = Group()
        self._dispatcher = gevent.spawn(self._dispatch, arrivals)

    @property
    def in_flight(self) -> int:
        return len(self._requests)

    def join(self, seconds: float) -> None:
        """Return when all is sent and answered, or was not within `seconds`."""
        self._dispatcher.join()
        self._requests.join(timeout=seconds)
        self.kill()

    def kill(self) -> None:
        self._dispatcher.kill(block=True)
        self._requests.kill(block=True)
        while self._idle:
            self._idle.pop().close()

    def _dispatch(self, arrivals: ArrivalOrder) -> None:
        clock = self._load.clock
        for due in arrival_times(arrivals, self._random):
            # also when it is late: answers are to be read in between
            gevent.sleep(max(0.0, due - clock.seconds()))
            if due >= self.until:
                return
            if self.in_flight < MOST_IN_FLIGHT:
                self._requests.spawn(self._send, due)
            else:
                measured = is_measured(self._order, due)
                self._load.samples.record(Sample(due, 0.0, self._order.stage, NOT_SENT, measured))

    def _send(self, due: float) -> None:
        connection = self._idle.pop() if self._idle else self._load.new_connection()
        sample, length = self._load.request(connection, self._random, self._order, due)
        tell_locust(self._environment, sample, length)
        self._idle.append(connection)
        while self._idle[0].is_idle():
            self._idle.popleft().close()
