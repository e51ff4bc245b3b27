"""Stores of watched children, indexed as reconcilers read them."""

from collections.abc import Callable

from diffusion_operator.kube.kinds import WATCHED_KINDS
from diffusion_operator.kube.objects import (
    CANARY_LABEL,
    HEAD_LABEL,
    SERVICE_LABEL,
    SLICE_LABEL,
    TEST_LABEL,
    Object,
    labels_of,
)

Place = tuple[str, str]
Index = dict[Place, list[Object]]
Named = Callable[[Object], str]


class ChildStores:
    """Indices of all child kinds, and a store per kind that fills them."""

    def __init__(self) -> None:
        # Reconcilers read pods by their owner only.
        self.by_name: dict[str, Index] = {kind: {} for kind in WATCHED_KINDS if kind != "Pod"}
        self.pods: Index = {}
        self.jobs: Index = {}
        self.revisions: Index = {}

    def store(self, kind: str) -> "Store":
        """Store of one kind."""
        if kind == "Pod":
            return Store([(self.pods, _pods_owner)])
        if kind == "EndpointSlice":
            return Store([(self.by_name[kind], _service_of_slice)])
        more: dict[str, tuple[Index, Named]] = {
            "Job": (self.jobs, lambda job: labels_of(job).get(TEST_LABEL, "")),
            "ControllerRevision": (
                self.revisions,
                lambda revision: labels_of(revision).get(SERVICE_LABEL, ""),
            ),
        }
        return Store([(self.by_name[kind], _own_name), *([more[kind]] if kind in more else [])])


class Store:
    """Store of one kind's objects in one or more indices.

    Each index has its own name for an object; ``""`` keeps it out.
    """

    def __init__(self, indices: list[tuple[Index, Named]]) -> None:
        self._indices = indices
        self._objects: dict[str, Object] = {}

    def put(self, obj: Object) -> Object | None:
        """Add or replace the object.

        Returns:
            The version before, if there was one.
        """
        uid, places = obj["metadata"]["uid"], self._places(obj)
        known = self.drop(uid)
        self._objects[uid] = obj
        for index, place in places:
            index.setdefault(place, []).append(obj)
        return known

    def drop(self, uid: str) -> Object | None:
        """Remove the object.

        Returns:
            Its last version, if there was one.
        """
        known = self._objects.pop(uid, None)
        if known is not None:
            for index, place in self._places(known):
                index[place] = [other for other in index[place] if other is not known]
                if not index[place]:
                    del index[place]
        return known

    def uids(self) -> set[str]:
        """Uids of all stored objects."""
        return set(self._objects)

    def _places(self, obj: Object) -> list[tuple[Index, Place]]:
        space = obj["metadata"]["namespace"]
        named = ((index, name_in(obj)) for index, name_in in self._indices)
        return [(index, (space, name)) for index, name in named if name]


def _own_name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _service_of_slice(endpoint_slice: Object) -> str:
    return labels_of(endpoint_slice).get(SLICE_LABEL, "")


def _pods_owner(pod: Object) -> str:
    labels = labels_of(pod)
    owner = labels.get(SERVICE_LABEL) or labels.get(TEST_LABEL) or labels.get(HEAD_LABEL)
    return owner or labels.get(CANARY_LABEL) or ""
