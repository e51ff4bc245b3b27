"""How one revision of a DiffusionService takes over from another."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import children, make_pods_ready
from pretend_node import NAME

Object = dict[str, Any]
GPU = {"type": "standin"}
Capacity = Callable[[int], None]


@pytest.fixture
def spare(control_plane: Kubectl) -> Iterator[Capacity]:
    """Gives the pretend node so many stand-ins of a GPU; afterwards it has none again."""

    def have(count: int) -> None:
        gpus = {"diffusion.dev/standin-gpu": str(count)}
        status = {"status": {"capacity": gpus, "allocatable": gpus}}
        control_plane.patch("node", NAME, status, "--subresource=status")

    yield have
    have(0)


def mine(kubectl: Kubectl) -> list[Object]:
    return kubectl.list("pods", "diffusion.dev/service=demo")


def says(kubectl: Kubectl, kind: str) -> str:
    return str(condition(kubectl.get("dsvc", "demo"), kind).get("reason", ""))


def end_what_is_being_deleted(kubectl: Kubectl) -> None:
    """Play the kubelet: what has to end has ended."""
    for pod in mine(kubectl):
        if pod["metadata"].get("deletionTimestamp"):
            kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def test_with_a_spare_gpu_the_new_pod_starts_beside_the_old_one(
    kubectl: Kubectl, operator: OperatorProcess, spare: Capacity
) -> None:
    spare(2)
    kubectl.apply(diffusion_service(gpu=GPU))
    eventually(lambda: children(kubectl), what="the children")
    make_pods_ready(kubectl)
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    eventually(
        lambda: sum(bool(pod["spec"].get("nodeName")) for pod in mine(kubectl)) == 2,
        what="both on the node",
    )
    assert not any(pod["metadata"].get("deletionTimestamp") for pod in mine(kubectl))
    assert says(kubectl, "Progressing") == "RollingOut"


def test_without_a_spare_gpu_the_only_replica_ends_first_and_the_downtime_is_announced(
    kubectl: Kubectl, operator: OperatorProcess, spare: Capacity
) -> None:
    spare(1)
    kubectl.apply(diffusion_service(gpu=GPU))
    eventually(lambda: children(kubectl), what="the children")
    make_pods_ready(kubectl)
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    eventually(
        lambda: says(kubectl, "Progressing") == "RollingOutWithDowntime", what="the announcement"
    )
    message = condition(kubectl.get("dsvc", "demo"), "Progressing")["message"]
    assert "there is no spare GPU" in message
    eventually(
        lambda: any(
            event["reason"] == "RollingOutWithDowntime" for event in kubectl.list("events")
        ),
        what="the Event",
    )
    end_what_is_being_deleted(kubectl)
    make_pods_ready(kubectl)
    assert says(kubectl, "Progressing") == "UpToDate"
    assert len(mine(kubectl)) == 1


def test_without_a_spare_gpu_several_replicas_go_one_at_a_time(
    kubectl: Kubectl, operator: OperatorProcess, spare: Capacity
) -> None:
    spare(2)
    kubectl.apply(diffusion_service(gpu=GPU, replicas=2))
    eventually(lambda: children(kubectl), what="the children")
    make_pods_ready(kubectl)
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    eventually(lambda: says(kubectl, "Progressing") == "RollingOutInPlace", what="the way")
    eventually(
        lambda: any(pod["metadata"].get("deletionTimestamp") for pod in mine(kubectl)),
        what="an old one to end",
    )
    ending = [pod for pod in mine(kubectl) if pod["metadata"].get("deletionTimestamp")]
    assert len(ending) == 1
    assert says(kubectl, "Ready") == "RollingOut"
