"""Cache: watched objects, overlaid with the operator's latest writes."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from diffusion_operator.kube.objects import Key, Object, key_of, labels_of

Index = Mapping[tuple[str, str], Iterable[Object]]


# Reconcilers read these fields of a pod's spec; its Deployment has the others.
_POD = ("nodeName", "nodeSelector", "affinity", "containers")
_ENDPOINT = ("conditions",)
_CONTAINER = ("name", "resources", "livenessProbe")
# A rollout judges by these whether an old pod makes room.
_RARE_FIELDS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "volumes": lambda volume: "persistentVolumeClaim" in volume,
    "topologySpreadConstraints": lambda each: each.get("whenUnsatisfiable") == "DoNotSchedule",
}


def trimmed(obj: Mapping[str, Any], kind: str, api_version: str) -> Object:
    """Copy of the object without the fields that no reconciler reads, which are most of its
    bytes.
    """
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "selfLink")}
    kept = {k: v for k, v in obj.items() if k != "metadata"}
    if kind == "Pod" and "spec" in kept:
        spec = _only(_POD, kept["spec"])
        containers = [_container(each) for each in spec.get("containers") or ()]
        kept["spec"] = {**spec, **_rare(kept["spec"]), "containers": containers}
    if kind == "EndpointSlice":
        endpoints = [_only(_ENDPOINT, each) for each in kept.get("endpoints") or ()]
        kept = {"endpoints": endpoints}
    shared: Object = _shared(
        {**kept, "apiVersion": api_version, "kind": kind, "metadata": metadata}
    )
    return shared


def _rare(spec: Mapping[str, Any]) -> Object:
    """Things that a pod holds alone, which few pods have."""
    fields = {
        name: [each for each in spec.get(name) or () if is_kept(each)]
        for name, is_kept in _RARE_FIELDS.items()
    }
    return {name: items for name, items in fields.items() if items}


def _container(container: Mapping[str, Any]) -> Object:
    kept = _only(_CONTAINER, container)
    ports = [port for port in container.get("ports") or () if "hostPort" in port]
    return {**kept, "ports": ports} if ports else kept


def _only(names: Iterable[str], part: Mapping[str, Any]) -> Object:
    return {name: part[name] for name in names if name in part}


def _shared(value: Any) -> Any:
    """JSON with interned strings, which halves the memory of the caches."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):  # a check for Mapping would take most of the time
        return {sys.intern(name): _shared(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shared(part) for part in value]
    return value


# A write's answer arrives within a second or so; fewer objects than this are deleted meanwhile.
_DELETIONS = 4096


def _version(obj: Mapping[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _uid(obj: Mapping[str, Any]) -> str:
    return str(obj["metadata"]["uid"])


class Cache:
    """View of watched state by key.

    A watch lags behind the operator's own writes. The cache keeps the answer to each write until
    the watch catches up, otherwise every write would cause another one.
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
        # Uids of recently deleted objects, oldest first.
        self._deleted: dict[str, None] = {}

    def get(self, key: Key) -> Object | None:
        """Newest known version of the object, or ``None``."""
        watched, written = self._watched(key), self._written.get(key)
        if written is None or (watched is not None and _version(watched) >= _version(written)):
            return watched
        return written

    def _watched(self, key: Key) -> Object | None:
        # Two objects may share a name while the watch has missed a deletion.
        objects = self._lookup(self._indices[key.kind], key.namespace, key.name)
        return max(objects, key=_version, default=None)

    def pods(self, namespace: str, owner: str) -> list[Object]:
        """Pods whose labels name that DiffusionService or LoadTest."""
        return self._lookup(self._pods, namespace, owner)

    def pods_of(self, namespace: str, owner: str, label: str) -> list[Object]:
        """Pods that name the owner in that label; a service and a test may share a name."""
        return [pod for pod in self.pods(namespace, owner) if labels_of(pod).get(label) == owner]

    def served(self, namespace: str, label: str) -> list[str]:
        """Owner names in that label of the namespace's pods, terminating pods included."""
        names = {owner for space, owner in self._pods if space == namespace}
        return sorted(name for name in names if self.pods_of(namespace, name, label))

    def ready_endpoints(self, namespace: str, service: str) -> int | None:
        """Ready endpoints of that Service, or ``None`` where nothing reports them."""
        slices = self._lookup(self._indices.get("EndpointSlice", {}), namespace, service)
        conditions = [
            each.get("conditions") or {} for one in slices for each in one.get("endpoints") or ()
        ]
        # Kubernetes takes an endpoint without the condition for a ready one.
        return sum(each.get("ready", True) for each in conditions) if slices else None

    def jobs(self, namespace: str, test: str) -> list[Object]:
        """Jobs whose label names that LoadTest."""
        return self._lookup(self._jobs, namespace, test)

    def tests(self, namespace: str, service: str) -> list[Object]:
        """LoadTests of any namespace whose target is that Service, by their specs alone."""
        return self._lookup(self._tests, namespace, service)

    def compared(self, namespace: str, comparison: str) -> list[Object]:
        """DiffusionServices and LoadTests whose label names that Comparison."""
        return self._lookup(self._compared, namespace, comparison)

    def revisions(self, namespace: str, service: str) -> list[Object]:
        """ControllerRevisions whose label names that DiffusionService."""
        return self._lookup(self._revisions, namespace, service)

    def all(self, kind: str) -> list[Object]:
        """All known objects of the kind."""
        index = self._indices[kind]
        return [obj for place in index for obj in self._lookup(index, *place)]

    def forget(self, uid: str) -> None:
        """Hide an object that the index still holds."""
        self._gone.add(uid)

    def _lookup(self, index: Index, namespace: str, name: str) -> list[Object]:
        place = (namespace, name)
        objects = list(index[place]) if place in index else []
        if not self._gone:
            return objects
        return [obj for obj in objects if obj["metadata"]["uid"] not in self._gone]

    def record_write(self, obj: Object) -> None:
        """Keep the API server's answer to a write, unless the watch has a newer version."""
        key = key_of(obj)
        watched = self._watched(key)
        if _uid(obj) in self._deleted:
            return  # no later event would remove it
        if watched is not None and _version(watched) >= _version(obj):
            return
        self._written[key] = obj

    def writes_before(self, kind: str, namespace: str, resource_version: int) -> list[Object]:
        """Kept writes to objects of the kind up to that version; ``""`` means any namespace."""
        return [
            obj
            for key, obj in self._written.items()
            if key.kind == kind
            and namespace in {"", key.namespace}
            and _version(obj) <= resource_version
        ]

    def on_event(self, key: Key, obj: Mapping[str, Any], *, deleted: bool) -> None:
        """Drop a kept write that the watch has caught up with."""
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

    def record_absence(self, key: Key) -> None:
        """Drop a kept write of an object that the API server doesn't have."""
        self._written.pop(key, None)
