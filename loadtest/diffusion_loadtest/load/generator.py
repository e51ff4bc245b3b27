"""Generates load in this process, with Locust's users and at exact moments.

Locust's own LoadTestShape reads the clock once a second, blocks while users are added, and lets
each departing user's last request hold up the next user.
"""

from collections import deque

import gevent
from gevent.pool import Group
from locust.env import Environment
from locust.runners import Runner

from diffusion_loadtest.load.arrivals import arrival_times
from diffusion_loadtest.load.load_level import ArrivalRate, LoadLevel
from diffusion_loadtest.load.request_sender import RequestSender, is_measured
from diffusion_loadtest.load.users import DiffusionUser, fire_request_event, user_class
from diffusion_loadtest.measure.samples import NOT_SENT, Sample
from diffusion_loadtest.plan.load_plan import LoadPlan

MOST_IN_FLIGHT = 5000
"""The limit of requests in flight: above any target's queue, below this process's file limit."""

_STOP_MARGIN_SECONDS = 5.0
_FOREVER = float("inf")


def locust_environment(plan: LoadPlan) -> Environment:
    """Locust's environment, to which a LoadGenerator adds the users."""
    timeout = plan.request.timeout_seconds + _STOP_MARGIN_SECONDS
    return Environment(host=plan.target.url, stop_timeout=timeout)


class LoadGenerator:
    """The users and the arrivals of one process."""

    def __init__(self, sender: RequestSender, environment: Environment, runner: Runner) -> None:
        self._sender = sender
        self._environment = environment
        self._runner = runner
        self._class = user_class(sender, self._current_level)
        environment.user_classes = [self._class]
        self._level = LoadLevel(stage=0)
        self._users: list[DiffusionUser] = []
        self._arrivals: _Arrivals | None = None

    def _current_level(self) -> LoadLevel:
        return self._level

    def begin(self) -> None:
        """Starts anew at second 0, with nothing recorded and no load."""
        self._runner.stats.clear_all()
        self._sender.begin()

    def apply(self, level: LoadLevel) -> None:
        """Generates load at this level from now on; arrivals that are due already are sent."""
        self._end_arrivals()
        self._level = level
        self._set_users(level.users)
        if level.arrivals is not None:
            self._arrivals = _Arrivals(self._sender, self._environment, level, level.arrivals)

    def drain(self) -> None:
        """Ends the load and waits for the responses, each up to its timeout."""
        arrivals = self._arrivals
        self._end_arrivals()
        self._set_users(0)
        self._runner.stop_users(self._runner.user_classes_count)
        if arrivals is not None:
            arrivals.join(self._environment.stop_timeout)

    def abort(self) -> None:
        """Ends the load at once; requests in flight are neither awaited nor counted."""
        if self._arrivals is not None:
            self._arrivals.kill()
        self._set_users(0)
        self._runner.user_greenlets.kill(block=True)

    @property
    def active(self) -> int:
        """Active users or, in the open loop, requests in flight."""
        return len(self._users) if self._arrivals is None else self._arrivals.in_flight

    def _end_arrivals(self) -> None:
        if self._arrivals is not None:
            self._arrivals.until = min(self._arrivals.until, self._sender.clock.seconds())

    def _set_users(self, users: int) -> None:
        while len(self._users) > users:
            self._users.pop().retire()
        if missing := users - len(self._users):
            self._users += self._runner.spawn_users({self._class.__name__: missing})
            self._environment.events.spawning_complete.fire(user_count=users)


class _Arrivals:
    """Requests that are sent when they are due, each by a greenlet of its own.

    A request that is due before `until` is sent even after `until`: a late request must not be
    left out, since the target may have delayed it.
    """

    def __init__(
        self,
        sender: RequestSender,
        environment: Environment,
        level: LoadLevel,
        arrivals: ArrivalRate,
    ) -> None:
        self.until = _FOREVER
        self._sender = sender
        self._environment = environment
        self._level = level
        # the connections without a request, the one that was used last at the end
        self._idle = deque([sender.new_connection()])
        # prompts have a generator of their own: a request that is not sent draws none, and must not
        # change the arrivals after it
        self._arrival_random, self._request_random = sender.new_random(), sender.new_random()
        self._requests = Group()
        self._dispatcher = gevent.spawn(self._dispatch, arrivals)

    @property
    def in_flight(self) -> int:
        return len(self._requests)

    def join(self, seconds: float) -> None:
        """Waits until every response has arrived, for at most `seconds` after the last request."""
        self._dispatcher.join()
        self._requests.join(timeout=seconds)
        self.kill()

    def kill(self) -> None:
        self._dispatcher.kill(block=True)
        self._requests.kill(block=True)
        while self._idle:
            self._idle.pop().close()

    def _dispatch(self, arrivals: ArrivalRate) -> None:
        clock = self._sender.clock
        for due in arrival_times(arrivals, self._arrival_random):
            # sleeps even when late, so that responses are read in between
            gevent.sleep(max(0.0, due - clock.seconds()))
            if due >= self.until:
                return
            if self.in_flight < MOST_IN_FLIGHT:
                self._requests.spawn(self._send, due)
            else:
                measured = is_measured(self._level, due)
                self._sender.samples.record(Sample(due, 0.0, self._level.stage, NOT_SENT, measured))

    def _send(self, due: float) -> None:
        connection = self._idle.pop() if self._idle else self._sender.new_connection()
        sample, length = self._sender.send(connection, self._request_random, self._level, due)
        fire_request_event(self._environment, sample, length)
        self._idle.append(connection)
        while self._idle[0].is_idle():
            self._idle.popleft().close()
