"""Turns at a target: what the pure rule of ``runs.turns`` needs to be remembered for it."""

from diffusion_operator.cache import Cache
from diffusion_operator.objects import Key, Object, key_of
from diffusion_operator.runs.basis import is_final
from diffusion_operator.runs.turns import may_begin, occupies


class Turns:
    """Who runs and who waits; between its question and its answer nothing else is decided.

    The watch tells of a Job only after it was made, so a turn given is remembered until it is
    given back. What is lost in a restart stands in the tests' status and their Jobs.
    """

    def __init__(self, cache: Cache, limit: int) -> None:
        self._cache = cache
        self._limit = limit
        self._begun: dict[Key, str] = {}
        self._waiting: set[Key] = set()

    def ask(self, key: Key, target: str, run: str) -> bool:
        """Whether that run of the test may begin now; if so, the turn is taken."""
        tests = {key_of(test): test for test in self._cache.tests(key.namespace, target)}
        begun = {
            each
            for each, test in tests.items()
            if self._holds(each, test) or occupies(test, self._jobs(each))
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
        self.begin(key, run)
        return True

    def begin(self, key: Key, run: str) -> None:
        """That run of the test has its turn."""
        self._waiting.discard(key)
        self._begun[key] = run

    def leave(self, key: Key) -> None:
        """The test neither runs nor waits any more."""
        self._waiting.discard(key)
        self._begun.pop(key, None)

    def _holds(self, key: Key, test: Object) -> bool:
        """Whether a turn given isn't over: its end is told before it is given back."""
        status = test.get("status") or {}
        return key in self._begun and not (is_final(status) and status["run"] == self._begun[key])

    def _jobs(self, key: Key) -> list[Object]:
        return self._cache.jobs(key.namespace, key.name)
