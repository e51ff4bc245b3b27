"""Answers of the cache, from its watch and from the own writes."""

import json
from dataclasses import replace
from typing import Any

from diffusion_operator.diffusionservice.pod_counts import observe_pods
from diffusion_operator.diffusionservice.rollout.surge import _makes_room as makes_room
from diffusion_operator.kube.cache import Cache, trimmed
from diffusion_operator.kube.objects import Key

Object = dict[str, Any]


def versioned(version: int, uid: str = "d-1") -> Object:
    meta = {"namespace": "shop", "name": "demo", "uid": uid, "resourceVersion": str(version)}
    return {"kind": "Deployment", "metadata": meta}


DEMO = Key("Deployment", "shop", "demo")


class ScriptedWatch:
    """A cache over a scripted watch."""

    def __init__(self) -> None:
        self._index: dict[tuple[str, str], list[Object]] = {}
        kinds = {"Deployment": self._index}
        self.cache = Cache(kinds, pods={}, jobs={}, tests={}, compared={}, revisions={})

    def shows(self, obj: Object) -> None:
        self._index["shop", "demo"] = [obj]
        self.cache.on_event(DEMO, obj, deleted=False)

    def shows_deletion_of(self, obj: Object) -> None:
        self._index.pop(("shop", "demo"), None)
        self.cache.on_event(DEMO, obj, deleted=True)


def test_the_cache_answers_with_the_newer_of_watch_and_own_write() -> None:
    watch = ScriptedWatch()
    assert watch.cache.get(DEMO) is None
    watch.cache.record_write(versioned(10))
    assert watch.cache.get(DEMO) == versioned(10)
    watch.shows(versioned(9))  # the watch lags behind
    assert watch.cache.get(DEMO) == versioned(10)
    watch.shows(versioned(11))
    assert watch.cache.get(DEMO) == versioned(11)
    watch.cache.record_write(versioned(12))
    watch.shows_deletion_of(versioned(13))
    assert watch.cache.get(DEMO) is None


def test_an_answer_that_comes_after_the_end_of_its_object_is_not_remembered() -> None:
    watch = ScriptedWatch()
    watch.shows(versioned(10))
    watch.shows_deletion_of(versioned(12))
    watch.cache.record_write(versioned(11))
    assert watch.cache.get(DEMO) is None
    watch.cache.record_write(versioned(13, uid="d-2"))
    assert watch.cache.get(DEMO) == versioned(13, uid="d-2")


def test_the_end_of_a_predecessor_is_not_that_of_its_successor() -> None:
    watch = ScriptedWatch()
    watch.shows(versioned(10))
    watch.cache.record_write(versioned(13, uid="d-2"))
    watch.shows_deletion_of(versioned(12))
    assert watch.cache.get(DEMO) == versioned(13, uid="d-2")


def test_an_object_that_the_api_server_does_not_know_is_not_remembered() -> None:
    watch = ScriptedWatch()
    watch.cache.record_write(versioned(10))
    watch.cache.record_absence(DEMO)
    assert watch.cache.get(DEMO) is None


def test_a_trimmed_pod_keeps_all_fields_that_are_read() -> None:
    probing = {
        "name": "server",
        "image": "i:1",
        "livenessProbe": {"periodSeconds": 10},
    }
    ended = {"exitCode": 137, "finishedAt": "2026-01-02T03:04:05Z", "reason": "Error"}
    status = {"name": "server", "restartCount": 2, "lastState": {"terminated": ended}}
    requesting = {"resources": {"requests": {"nvidia.com/gpu": "1"}}}
    pod = {
        "metadata": {
            "name": "demo-1",
            "namespace": "shop",
            "uid": "p-1",
            "labels": {"diffusion.dev/service": "demo", "diffusion.dev/revision": "r"},
            "managedFields": [{"manager": "kubelet"}],
        },
        "spec": {
            "nodeName": "n1",
            "nodeSelector": {"gpu": "l4"},
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "containers": [{**probing, **requesting}],
        },
        "status": {"containerStatuses": [status]},
    }
    kept = trimmed(pod, "Pod", "v1")
    assert "volumes" not in kept["spec"]
    assert "image" not in kept["spec"]["containers"][0]
    seen, seen_of_kept = (observe_pods([each], "r") for each in (pod, kept))
    assert [failure.reason for failure in seen.failures] == ["ProbeFailed"]
    assert replace(seen_of_kept, awaiting_volumes=()) == replace(seen, awaiting_volumes=())
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
               "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}  # fmt: skip
    waiting = {**pod, "status": {"conditions": [refused]}}
    assert makes_room(kept, trimmed(waiting, "Pod", "v1"), refused["message"])
    spec: Object = {
        "volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}],
        "topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}],
        "containers": [{"name": "server", "ports": [{"containerPort": 8000, "hostPort": 80}]}],
    }
    assert trimmed({**pod, "spec": spec}, "Pod", "v1")["spec"] == spec


def test_two_objects_share_the_strings_that_both_have() -> None:
    text = '{"metadata": {"name": "a name of some length"}, "spec": {"a field": ["a value"]}}'
    one, other = (trimmed(json.loads(text), "Service", "v1") for _ in range(2))
    assert one == other
    assert one["metadata"]["name"] is other["metadata"]["name"]
    assert one["spec"]["a field"][0] is other["spec"]["a field"][0]
