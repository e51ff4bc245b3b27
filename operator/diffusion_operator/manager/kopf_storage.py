"""No-op storages for kopf, whose low-level event handlers need none.

By default kopf copies each object several times per event to compare it with its last handled
state. Nothing stores such a state here.
"""

from typing import Any

import kopf


class NoOpDiffBaseStorage(kopf.DiffBaseStorage):
    """Storage of the last handled state that stores nothing."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class NoOpProgressStorage(kopf.ProgressStorage):
    """Storage of handlers' progress that stores nothing."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence
