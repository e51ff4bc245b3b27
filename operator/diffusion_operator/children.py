"""What there is of the children, under the names by which it is asked for."""

from collections.abc import Callable

from diffusion_operator.objects import (
    CANDIDATE_LABEL,
    HEAD_LABEL,
    SERVICE_LABEL,
    TEST_LABEL,
    Object,
    labels_of,
)

KINDS = (
    "Deployment",
    "ControllerRevision",
    "Service",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "ConfigMap",
    "Role",
    "RoleBinding",
    "PodDisruptionBudget",
    "Ingress",
    "NetworkPolicy",
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "HTTPRoute",
    "RayService",
    "Job",
    "Pod",
)

Place = tuple[str, str]
Index = dict[Place, list[Object]]
Named = Callable[[Object], str]


class Children:
    """The indices of all kinds, and which of them take in an object of which kind."""

    def __init__(self) -> None:
        # A pod is only ever asked for by its owner.
        self.by_name: dict[str, Index] = {kind: {} for kind in KINDS if kind != "Pod"}
        self.pods: Index = {}
        self.jobs: Index = {}
        self.revisions: Index = {}

    def kept(self, kind: str) -> "Kept":
        """A place to keep objects of the kind in."""
        if kind == "Pod":
            return Kept([(self.pods, _pods_owner)])
        more: dict[str, tuple[Index, Named]] = {
            "Job": (self.jobs, lambda job: labels_of(job).get(TEST_LABEL, "")),
            "ControllerRevision": (
                self.revisions,
                lambda revision: labels_of(revision).get(SERVICE_LABEL, ""),
            ),
        }
        return Kept([(self.by_name[kind], _own_name), *([more[kind]] if kind in more else [])])


class Kept:
    """Objects in one or more indices, in each by a name that it has there; "" keeps it out."""

    def __init__(self, indices: list[tuple[Index, Named]]) -> None:
        self._indices = indices
        self._objects: dict[str, Object] = {}

    def put(self, obj: Object) -> Object | None:
        """Keep it, in the place of what was known of it, which is returned."""
        uid, places = obj["metadata"]["uid"], self._places(obj)
        known = self.drop(uid)
        self._objects[uid] = obj
        for index, place in places:
            index.setdefault(place, []).append(obj)
        return known

    def drop(self, uid: str) -> Object | None:
        """Keep it no longer; returns what was known of it."""
        known = self._objects.pop(uid, None)
        if known is not None:
            for index, place in self._places(known):
                index[place] = [other for other in index[place] if other is not known]
                if not index[place]:
                    del index[place]
        return known

    def uids(self) -> set[str]:
        """Those of all that is kept."""
        return set(self._objects)

    def _places(self, obj: Object) -> list[tuple[Index, Place]]:
        space = obj["metadata"]["namespace"]
        named = ((index, name_in(obj)) for index, name_in in self._indices)
        return [(index, (space, name)) for index, name in named if name]


def _own_name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _pods_owner(pod: Object) -> str:
    labels = labels_of(pod)
    owner = labels.get(SERVICE_LABEL) or labels.get(TEST_LABEL) or labels.get(HEAD_LABEL)
    return owner or labels.get(CANDIDATE_LABEL) or ""
