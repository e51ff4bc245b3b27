"""Carries the stages out with Locust's local runner.

Locust's own LoadTestShape looks at the clock once a second, blocks while users are added and lets
each departing user's last request hold up the next; the moments here are exact instead.
"""

import gevent
from locust.env import Environment

from .load import Load
from .stages import user_changes
from .users import DiffusionUser, user_class

_STOP_MARGIN_SECONDS = 5.0


class Driver:
    """Runs a load's users as its plan says."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._class = user_class(load)
        self._environment = Environment(
            user_classes=[self._class],
            host=load.plan.target.url,
            stop_timeout=load.plan.request.timeout_seconds + _STOP_MARGIN_SECONDS,
        )
        self._runner = self._environment.create_local_runner()
        self._users: list[DiffusionUser] = []

    def run(self) -> None:
        """Run all stages, then await the answers still on their way, each up to its timeout."""
        load = self._load
        self._fire("test_start", environment=self._environment)
        load.begin()
        for change in user_changes(load.plan.users.stages, load.plan.users.spawn_rate):
            self._sleep_until(change.at)
            load.stage = change.stage
            self._set_users(change.users)
        self._sleep_until(load.plan.duration_seconds)
        self._set_users(0)
        self._runner.stop()
        load.end()

    def abort(self) -> None:
        """Stop at once: requests without an answer are neither awaited nor counted."""
        self._load.set_users(0)
        self._runner.user_greenlets.kill(block=True)
        self._runner.quit()
        self._load.end()

    def _sleep_until(self, seconds: float) -> None:
        gevent.sleep(max(0.0, seconds - self._load.seconds()))

    def _set_users(self, users: int) -> None:
        while len(self._users) > users:
            self._users.pop().retire()
        if missing := users - len(self._users):
            self._users += self._runner.spawn_users({self._class.__name__: missing})
            self._fire("spawning_complete", user_count=users)
        self._load.set_users(users)

    def _fire(self, event: str, **facts: object) -> None:
        """Keep Locust's own state up to date, which its listeners and its page show."""
        getattr(self._environment.events, event).fire(**facts)
