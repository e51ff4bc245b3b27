"""A stand-in for the API server of unit tests, and a cache without objects."""

import copy
from collections.abc import Sequence
from typing import Any

from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import Key, key_of

Object = dict[str, Any]


class RecordingCluster:
    """Stand-in for the API server that keeps its objects and records the writes."""

    def __init__(self, *objects: Object) -> None:
        self.objects = {key_of(each): each for each in objects}
        self.applied: list[Object] = []
        self.statuses: list[Object] = []
        self.created: list[Object] = []
        self.owned: list[Key] = []
        self.patched: list[list[str]] = []
        self.stubborn = False
        """Whether each write brings a foreign key back, as an admission webhook would."""

    async def create(self, obj: Object) -> Object | None:
        if key_of(obj) in self.objects:
            return None
        self.created.append(obj)
        return self._kept(obj)

    async def own_what_was_created(self, key: Key) -> None:
        self.owned.append(key)

    async def apply_status(self, obj: Object) -> Object:
        self.statuses.append(obj)
        metadata = {**obj["metadata"], "resourceVersion": "100"}
        return {**obj, "metadata": metadata}

    async def get(self, key: Key) -> Object | None:
        return self.objects.get(key)

    async def apply(self, obj: Object) -> Object:
        self.applied.append(obj)
        return self._kept(obj)

    async def json_patch(self, key: Key, operations: Sequence[Object]) -> Object:
        self.patched.append([each["path"] for each in operations if each["op"] == "remove"])
        if self.stubborn:
            return self.objects[key]
        observed = copy.deepcopy(self.objects[key])
        for each in operations:
            if each["op"] == "add":
                observed["metadata"][each["path"].rpartition("/")[2]] = each["value"]
        for path in self.patched[-1]:
            *parents, last = [part.replace("~1", "/") for part in path.split("/")[1:]]
            within = observed
            for part in parents:
                within = within[part]
            del within[last]
        self.objects[key] = observed
        return observed

    def _kept(self, obj: Object) -> Object:
        answer = copy.deepcopy(obj)
        answer["metadata"] = {"uid": "made", **answer["metadata"], "resourceVersion": "100"}
        self.objects[key_of(obj)] = answer
        return answer


def cache_of(*kinds: str) -> Cache:
    """A cache of these kinds without an object."""
    indices: dict[str, dict[tuple[str, str], list[Object]]] = {kind: {} for kind in kinds}
    return Cache(indices, pods={}, jobs={}, tests={}, compared={}, revisions={})
