"""kopf's memory of what it has handled, which low-level event handlers have no use for.

By default kopf copies each object several times an event, to compare it with what it wrote on the
object when it last handled it. Nothing is written here, so there is nothing to compare with.
"""

from typing import Any

import kopf


class NoDiffBase(kopf.DiffBaseStorage):
    """No last handled state."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    """No handler's progress."""

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
