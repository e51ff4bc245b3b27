"""What the operator knows of the cluster: what is watched, and its own latest writes over it."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from diffusion_operator.objects import Key, Object, key_of, labels_of

Index = Mapping[tuple[str, str], Iterable[Object]]


# What is read of a pod's spec; the rest of it stands in its Deployment, too.
_POD = ("nodeName", "nodeSelector", "affinity", "containers")
_CONTAINER = ("name", "resources", "livenessProbe")


def trimmed(obj: Mapping[str, Any], kind: str, api_version: str) -> Object:
    """The object without what no one here reads, which is most of its bytes."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "selfLink")}
    kept = {k: v for k, v in obj.items() if k != "metadata"}
    if kind == "Pod" and "spec" in kept:
        spec = _only(_POD, kept["spec"])
        containers = [_only(_CONTAINER, each) for each in spec.get("containers") or ()]
        kept["spec"] = {**spec, "containers": containers}
    found: Object = _shared({**kept, "apiVersion": api_version, "kind": kind, "metadata": metadata})
    return found


def _only(names: Iterable[str], part: Mapping[str, Any]) -> Object:
    return {name: part[name] for name in names if name in part}


def _shared(value: Any) -> Any:
    """The JSON with the strings that other objects have, too: they take half as much memory so."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):  # asking for any Mapping takes longer than all the rest
        return {sys.intern(name): _shared(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shared(part) for part in value]
    return value


# Answers to writes are a second or so late at most; so many objects aren't deleted meanwhile.
_DELETIONS = 4096


def _version(obj: Mapping[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _uid(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"]["uid"])


class Cache:
    """Reads by key from the watched state.

    A watch is always a little behind one's own writes. So the answer to each write is kept until
    the watch has caught up with it; otherwise every write would be followed by another one.
    """

    def __init__(
        self,
        indices: Mapping[str, Index],
        *,
        pods: Index,
        jobs: Index,
        tests: Index,
        compared: Index,
        revisions: Index,
    ) -> None:
        self._indices = indices
        self._pods = pods
        self._jobs = jobs
        self._tests = tests
        self._compared = compared
        self._revisions = revisions
        self._written: dict[Key, Object] = {}
        self._gone: set[str] = set()
        # Of what the watch told of as deleted lately, the uids, the oldest first.
        self._deleted: dict[str, None] = {}

    def get(self, key: Key) -> Object | None:
        """The newest known state of the object, if it is known to exist."""
        watched, written = self._watched(key), self._written.get(key)
        if written is None or (watched is not None and _version(watched) >= _version(written)):
            return watched
        return written

    def _watched(self, key: Key) -> Object | None:
        # Two of one name: the index still has one whose end the watch has missed.
        found = self._found(self._indices[key.kind], key.namespace, key.name)
        return max(found, key=_version, default=None)

    def pods(self, namespace: str, owner: str) -> list[Object]:
        """The pods labelled as belonging to a DiffusionService or LoadTest of that name."""
        return self._found(self._pods, namespace, owner)

    def pods_of(self, namespace: str, owner: str, label: str) -> list[Object]:
        """Those of them that carry the label: a service and a test may have one name."""
        return [pod for pod in self.pods(namespace, owner) if labels_of(pod).get(label) == owner]

    def served(self, namespace: str, label: str) -> list[str]:
        """The names that pods of the namespace carry in the label, the ending pods' too."""
        names = {owner for space, owner in self._pods if space == namespace}
        return sorted(name for name in names if self.pods_of(namespace, name, label))

    def jobs(self, namespace: str, test: str) -> list[Object]:
        """The Jobs labelled as belonging to that LoadTest."""
        return self._found(self._jobs, namespace, test)

    def tests(self, namespace: str, service: str) -> list[Object]:
        """The LoadTests that name that DiffusionService as their target."""
        return self._found(self._tests, namespace, service)

    def compared(self, namespace: str, comparison: str) -> list[Object]:
        """The DiffusionServices and LoadTests labelled as made for that Comparison."""
        return self._found(self._compared, namespace, comparison)

    def revisions(self, namespace: str, service: str) -> list[Object]:
        """The ControllerRevisions labelled as belonging to that DiffusionService."""
        return self._found(self._revisions, namespace, service)

    def all(self, kind: str) -> list[Object]:
        """Every object of the kind that is known to exist."""
        index = self._indices[kind]
        return [obj for place in index for obj in self._found(index, *place)]

    def forget(self, uid: str) -> None:
        """From now on the object is not known, though its index has it."""
        self._gone.add(uid)

    def _found(self, index: Index, namespace: str, name: str) -> list[Object]:
        place = (namespace, name)
        found = list(index[place]) if place in index else []
        if not self._gone:
            return found
        return [obj for obj in found if obj["metadata"]["uid"] not in self._gone]

    def wrote(self, obj: Object) -> None:
        """Remember the API server's answer to a write, unless the watch has told of more by now."""
        key = key_of(obj)
        watched = self._watched(key)
        if _uid(obj) in self._deleted:
            return  # no event would ever say so again
        if watched is not None and _version(watched) >= _version(obj):
            return
        self._written[key] = obj

    def written_before(self, kind: str, namespace: str, resource_version: int) -> list[Object]:
        """The remembered writes to objects of the kind up to that version; "": in any namespace."""
        return [
            obj
            for key, obj in self._written.items()
            if key.kind == kind
            and namespace in {"", key.namespace}
            and _version(obj) <= resource_version
        ]

    def saw(self, key: Key, obj: Mapping[str, Any], *, deleted: bool) -> None:
        """What the watch told of: forget a remembered write that it has caught up with."""
        if deleted:
            self._deleted[_uid(obj)] = None
            if len(self._deleted) > _DELETIONS:
                del self._deleted[next(iter(self._deleted))]
        written = self._written.get(key)
        if written is None:
            return
        ended = deleted and _uid(written) == _uid(obj)
        if ended or _version(written) <= _version(obj):
            del self._written[key]

    def is_absent(self, key: Key) -> None:
        """The API server was asked, and knows no such object."""
        self._written.pop(key, None)
