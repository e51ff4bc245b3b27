"""Groups of tests, each on one worker of pytest-xdist."""

from collections.abc import Callable

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped] # it is not marked as typed
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # same


class ByGroup(LoadScopeScheduling):  # type: ignore[misc] # same
    """Gives each worker one group after another, in the order of the tests.

    pytest-xdist's own groups (`--dist loadgroup`) don't work with pytest 9.2, since xdist can no
    longer change node ids there.
    """

    def __init__(self, config: pytest.Config, log: Producer, group: Callable[[str], str]) -> None:
        super().__init__(config, log)
        self._group = group

    def _split_scope(self, nodeid: str) -> str:
        return self._group(nodeid)
