"""Rollout in place: an old pod ends before a new one starts."""

from typing import Any

import pytest

from diffusion_operator.diffusionservice.rollout.surge import must_go_in_place

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
    assert must_go_in_place(deployment("new"), deployment("new"), pods)


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
    assert not must_go_in_place(deployment("new"), deployment("new"), pods)


def test_a_pod_that_ends_already_makes_room_by_itself() -> None:
    old = pod("old")
    old["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    new = pod("new", message=LACKING)
    assert not must_go_in_place(deployment("new"), deployment("new"), [old, new])


def test_a_rollout_stays_in_place_to_its_end_and_the_next_one_begins_with_surge() -> None:
    assert must_go_in_place(deployment("new"), deployment("new", surge=0), [pod("new")])
    assert not must_go_in_place(deployment("newer"), deployment("new", surge=0), [pod("new")])
    assert not must_go_in_place(deployment("new"), None, [])
