"""A stand-in for the API server of unit tests whose objects a watch delivers at once."""

import asyncio
import itertools
from typing import Any

from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import Key, key_of
from diffusion_operator.kube.store import ChildStores
from diffusion_operator.kube.timestamps import utc_now
from recording_cluster import RecordingCluster

Object = dict[str, Any]


class WatchedCluster(RecordingCluster):
    """Stand-in for the API server, with the cache that its watches fill."""

    def __init__(self) -> None:
        super().__init__()
        self.status_written = asyncio.Event()
        self._versions = itertools.count(1000)
        # Replicas that an autoscaler owns, which an apply without the field leaves as they are.
        self._replicas: dict[Key, int] = {}
        children = ChildStores()
        self._stores = {kind: children.store(kind) for kind in [*children.by_name, "Pod"]}
        self._owners: dict[str, Any] = {"DiffusionService": {}, "LoadTest": {}, "Comparison": {}}
        self.cache = Cache(
            {**self._owners, **children.by_name},
            pods=children.pods,
            jobs=children.jobs,
            tests={},
            compared={},
            revisions=children.revisions,
        )

    async def groups(self) -> frozenset[str]:
        return frozenset()

    async def close(self) -> None:
        """Closes nothing."""

    async def apply_status(self, obj: Object) -> Object:
        self.statuses.append(obj)
        stored = self.put({**self.objects[key_of(obj)], "status": obj["status"]})
        self.status_written.set()
        return stored

    async def hand_over_replicas(self, key: Key, replicas: int) -> None:
        self._replicas[key] = replicas

    def _kept(self, obj: Object) -> Object:
        replicas = self._replicas.get(key_of(obj))
        if replicas is None:
            return self.put(obj)
        return self.put({**obj, "spec": {"replicas": replicas, **obj["spec"]}})

    def put(self, obj: Object) -> Object:
        """Stores the object, as the watch delivers it."""
        metadata = {"uid": f"{key_of(obj)}", "generation": 1, "creationTimestamp": utc_now()}
        version = {"resourceVersion": str(next(self._versions))}
        stored = {**obj, "metadata": {**metadata, **obj["metadata"], **version}}
        key = key_of(stored)
        self.objects[key] = stored
        if key.kind in self._owners:
            self._owners[key.kind][key.namespace, key.name] = [stored]
        elif key.kind in self._stores:
            self._stores[key.kind].put(stored)
        return stored

    def serve(self, name: str) -> None:
        """Plays the kubelet and the Deployment's controller: each replica is there and Ready."""
        deployment = self.objects[Key("Deployment", "shop", name)]
        template, replicas = deployment["spec"]["template"], deployment["spec"].get("replicas", 1)
        done = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
        names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {"observedGeneration": 1, "conditions": [done], **dict.fromkeys(names, replicas)}
        self.put({**deployment, "status": status})
        for number in range(replicas):
            meta = {"namespace": "shop", "name": f"{name}-{number}", **template["metadata"]}
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            spec = {**template["spec"], "nodeName": "node"}
            self.put({"kind": "Pod", "metadata": meta, "spec": spec, "status": ready})
