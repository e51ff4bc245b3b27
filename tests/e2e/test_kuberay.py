"""A Ray cluster that KubeRay's real operator makes and replaces on a real node."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from in_cluster import SMALL, ask_at_once, metric, wait_until_ready
from install import Installed
from kubectl import Kubectl, eventually
from kuberay import definitions, operating
from manifests import diffusion_service, load_test
from served import ready_reason
from steady_load import STEADY, Load

Object = dict[str, Any]
Forward = Any
# Two clusters start, and KubeRay keeps the older one for a minute.
REPLACED_WITHIN = 420.0


@pytest.fixture
def kuberay(cluster: Kubectl, installed: Installed, tmp_path: Path) -> Iterator[Path]:
    """Runs KubeRay's operator with its kinds; yields the log."""
    files = [argument for path in definitions() for argument in ("-f", str(path))]
    cluster("apply", "--server-side", *files)
    with operating(installed.kubeconfig, tmp_path) as log:
        yield log
    cluster("delete", *files)


def ray_clusters(kubectl: Kubectl) -> list[str]:
    return [each["metadata"]["name"] for each in kubectl.list("rayclusters")]


def served_cluster(kubectl: Kubectl) -> str:
    """The name of the RayCluster that serves, from KubeRay's status."""
    active = kubectl.status("rayservice", "demo").get("activeServiceStatus") or {}
    return str(active.get("rayClusterName", ""))


@pytest.mark.usefixtures("kuberay")
def test_kuberay_makes_the_cluster_and_another_takes_over_without_a_failed_request(
    kubectl: Kubectl,
) -> None:
    kubectl.apply(
        diffusion_service(
            backend="rayserve",
            rayserve={"topology": "cluster"},
            podTemplate={"spec": {"containers": [SMALL]}},
        )
    )
    wait_until_ready(kubectl)
    assert kubectl.find("deployment", "demo") is None
    (first,) = ray_clusters(kubectl)
    eventually(lambda: served_cluster(kubectl) == first, within=60, what="KubeRay's status")
    kubectl.apply(load_test(**STEADY))
    load = Load(kubectl)
    load.goes_on()
    before = kubectl.status("dsvc", "demo")["revision"]

    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})

    def replaced() -> bool:
        left = ray_clusters(kubectl)
        return len(left) == 1 and left != [first] and ready_reason(kubectl) == "Serving"

    eventually(replaced, within=REPLACED_WITHIN, every=1, what="another cluster in its place")
    assert kubectl.status("dsvc", "demo")["revision"] != before
    load.goes_on()
    load.assert_none_failed()
    kubectl.scale("dsvc", "demo", 2)
    eventually(
        lambda: kubectl.status("dsvc", "demo").get("readyReplicas") == 2,
        within=180,
        what="another worker",
    )
    kubectl.patch("dsvc", "demo", {"spec": {"suspend": True}})
    eventually(
        lambda: not kubectl.list("pods", "diffusion.dev/service=demo"),
        within=180,
        what="the pods to go",
    )


@pytest.mark.full
@pytest.mark.usefixtures("kuberay")
def test_one_ray_cluster_serves_from_its_workers_and_outlives_the_loss_of_each_of_its_pods(
    kubectl: Kubectl, forward: Forward
) -> None:
    kubectl.apply(
        diffusion_service(
            backend="rayserve",
            replicas=2,
            rayserve={"topology": "cluster"},
            podTemplate={"spec": {"containers": [SMALL]}},
        )
    )
    wait_until_ready(kubectl)
    with forward("service/demo") as client:
        eventually(lambda: metric(client, "diffusion_ready") == 2, within=60, what="both workers")
        ask_at_once(client, 8)
        lose(kubectl, "diffusion.dev/service=demo")
        eventually(lambda: metric(client, "diffusion_ready") == 1, within=120, what="the loss")
        ask_at_once(client, 4)
        eventually(lambda: metric(client, "diffusion_ready") == 2, within=300, what="another")
        kubectl("scale", "dsvc/demo", "--replicas=1")
        eventually(lambda: metric(client, "diffusion_ready") == 1, within=120, what="one less")
        ask_at_once(client, 4)
    wait_until_ready(kubectl)
    lose(kubectl, "diffusion.dev/ray-head=demo")
    eventually(
        lambda: ready_reason(kubectl) == "HeadLost", within=60, what="the loss in the status"
    )
    wait_until_ready(kubectl)
    with forward("service/demo") as client:
        ask_at_once(client, 4)


def lose(kubectl: Kubectl, selector: str) -> None:
    """Deletes the first pod of the selector without grace, as if its node were lost."""
    name = kubectl.list("pods", selector)[0]["metadata"]["name"]
    kubectl("delete", "pod", name, "--grace-period=0", "--force")
