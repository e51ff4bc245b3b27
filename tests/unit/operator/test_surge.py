"""Rollout in place: an old pod ends before a new one starts."""

from typing import Any

import pytest

from diffusion_operator.diffusionservice.rollout.surge import is_in_place, shortage_of

Object = dict[str, Any]
LACKING = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate."


def deployment(revision: str, surge: int = 1) -> Object:
    return {
        "spec": {
            "strategy": {"rollingUpdate": {"maxSurge": surge}},
            "template": {"metadata": {"labels": {"diffusion.dev/revision": revision}}},
        }
    }


def pod(revision: str, gpus: str = "1", cpu: str = "1", message: str = "", **spec: Any) -> Object:
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    requests = {"nvidia.com/gpu": gpus, "cpu": cpu}
    return {
        "metadata": {"name": revision, "labels": {"diffusion.dev/revision": revision}},
        "spec": {"containers": [{"name": "server", "resources": {"requests": requests}}], **spec},
        "status": {"conditions": [{**refused, "message": message}] if message else []},
    }


def test_a_rollout_goes_in_place_once_a_new_pod_lacks_what_an_old_one_holds() -> None:
    pods = [pod("old"), pod("new", message=LACKING)]
    assert shortage_of(deployment("new"), deployment("new"), pods) is not None


@pytest.mark.parametrize(
    "pods",
    [
        [pod("old"), pod("new")],
        [pod("new", message=LACKING)],
        [pod("old"), pod("new", gpus="2", message=LACKING)],
        [pod("old"), pod("new", message=LACKING, nodeSelector={"gpu": "h100"})],
        [pod("old"), pod("new", message="1 node(s) didn't match Pod's node affinity/selector")],
        [
            pod("old"),
            pod("new", cpu="2", message="1 Insufficient nvidia.com/gpu, 1 Insufficient cpu."),
        ],
    ],
    ids=["room", "none old", "needs more", "another place", "no such node", "more is lacking"],
)
def test_no_pod_is_ended_where_that_would_not_help(pods: list[Object]) -> None:
    assert shortage_of(deployment("new"), deployment("new"), pods) is None


def test_a_pod_that_ends_already_makes_room_by_itself() -> None:
    old = pod("old")
    old["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    new = pod("new", message=LACKING)
    assert shortage_of(deployment("new"), deployment("new"), [old, new]) is None


def test_a_rollout_stays_in_place_to_its_end_and_the_next_one_begins_with_surge() -> None:
    assert is_in_place(deployment("new"), deployment("new", surge=0))
    assert not is_in_place(deployment("newer"), deployment("new", surge=0))
    assert not is_in_place(deployment("new"), deployment("new"))


ANTI: Object = {"affinity": {"podAntiAffinity": {"required": [{"topologyKey": "host"}]}}}
SPREAD: Object = {"topologySpreadConstraints": [{"topologyKey": "host", "maxSkew": 1}]}


def claim(name: str) -> Object:
    return {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": name}}]}


def on_port(revision: str, port: int, message: str = "") -> Object:
    made = pod(revision, message=message)
    made["spec"]["containers"][0]["ports"] = [{"containerPort": 8000, "hostPort": port}]
    return made


ONE_POD = (
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)
NO_PORT = "1 node(s) didn't have free ports for the requested pod ports."
NO_AFFINITY = "1 node(s) didn't match pod anti-affinity rules."
NO_SPREAD = "1 node(s) didn't match pod topology spread constraints."


@pytest.mark.parametrize(
    "pods",
    [
        [pod("old", **claim("a")), pod("new", message=ONE_POD, **claim("a"))],
        [on_port("old", 80), on_port("new", 80, NO_PORT)],
        [pod("old", **ANTI), pod("new", message=NO_AFFINITY, **ANTI)],
        [pod("old", **SPREAD), pod("new", message=NO_SPREAD, **SPREAD)],
    ],
    ids=["ReadWriteOncePod", "hostPort", "anti-affinity", "spread"],
)
def test_an_old_pod_makes_room_for_whatever_it_holds_alone(pods: list[Object]) -> None:
    assert shortage_of(deployment("new"), deployment("new"), pods) is not None


@pytest.mark.parametrize(
    "pods",
    [
        [pod("old", **claim("a")), pod("new", message=ONE_POD, **claim("b"))],
        [on_port("old", 80), on_port("new", 81, NO_PORT)],
        [pod("old"), pod("new", message=NO_AFFINITY, **ANTI)],
        [pod("old"), pod("new", message=NO_SPREAD, **SPREAD)],
    ],
    ids=["another claim", "another port", "another affinity", "another spread"],
)
def test_no_pod_is_ended_for_a_thing_that_another_service_holds(pods: list[Object]) -> None:
    assert shortage_of(deployment("new"), deployment("new"), pods) is None


def over_quota(requested: str) -> Object:
    live = deployment("new")
    refused = (
        f'pods "x" is forbidden: exceeded quota: q, requested: {requested}, used: a=1, limited: a=1'
    )
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    live["status"] = {"conditions": [{**condition, "message": refused}]}
    return live


@pytest.mark.parametrize("requested", ["pods=1", "requests.nvidia.com/gpu=1", "cpu=1,pods=1"])
def test_an_old_pod_makes_room_in_a_quota(requested: str) -> None:
    shortage = shortage_of(deployment("new"), over_quota(requested), [pod("old")])
    assert shortage is not None
    assert shortage.pod is None


@pytest.mark.parametrize("requested", ["requests.nvidia.com/gpu=2", "limits.memory=1Gi"])
def test_no_pod_is_ended_for_more_than_it_counts_in_the_quota(requested: str) -> None:
    assert shortage_of(deployment("new"), over_quota(requested), [pod("old")]) is None
