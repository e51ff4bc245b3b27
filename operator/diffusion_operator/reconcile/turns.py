"""Turns at a target: what the pure rule of ``runs.turns`` needs to be remembered for it."""

from diffusion_operator.cache import Cache
from diffusion_operator.objects import Key, key_of
from diffusion_operator.runs.turns import may_begin, occupies


class Turns:
    """Who runs and who waits; between its question and its answer nothing else is decided.

    The watch tells of a Job only after it was made, so a turn given is remembered until it is
    given back. What is lost in a restart stands in the tests' status and their Jobs.
    """

    def __init__(self, cache: Cache, limit: int) -> None:
        self._cache = cache
        self._limit = limit
        self._begun: set[Key] = set()
        self._waiting: set[Key] = set()

    def ask(self, key: Key, target: str) -> bool:
        """Whether the test may begin now; if so, the turn is taken."""
        tests = {key_of(test): test for test in self._cache.tests(key.namespace, target)}
        begun = {
            each
            for each, test in tests.items()
            if each in self._begun or occupies(test, self._cache.jobs(each.namespace, each.name))
        }
        queued = {
            each
            for each, test in tests.items()
            if each in self._waiting or (test.get("status") or {}).get("state") == "Queued"
        }
        if key in tests and not may_begin(
            key, tests, begun=begun, waiting=queued - begun, limit=self._limit
        ):
            self._waiting.add(key)
            return False
        self.begin(key)
        return True

    def begin(self, key: Key) -> None:
        """The test has its turn."""
        self._waiting.discard(key)
        self._begun.add(key)

    def leave(self, key: Key) -> None:
        """The test neither runs nor waits any more."""
        self._waiting.discard(key)
        self._begun.discard(key)
