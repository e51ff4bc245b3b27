"""Optional children of services: created while the spec needs them, and deleted afterwards.

The services need no running pods for this: they are suspended, or wait for a GPU, or for KubeRay,
which isn't installed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from in_cluster import settings_of
from install import Installed
from kubectl import Kubectl, eventually
from manifests import diffusion_service
from served import ready_reason
from stand_ins import CUSTOM_METRICS, HTTP_ROUTES, RAY_CLUSTERS, RAY_SERVICES, SCALED_OBJECTS

Object = dict[str, Any]

SCALING: Object = {"minReplicas": 1, "maxReplicas": 3, "targetQueuedPerReplica": 4}
GATEWAY: Object = {"host": "a.test", "gatewayRef": {"name": "web"}}
INGRESS: Object = {"host": "a.test", "ingressClassName": "nginx"}
CACHED: Object = {"source": "hf://nobody/nothing", "cache": {"size": "1Gi"}}
LITTLE: Object = {"source": "image:///models/demo", "cache": None}
KINDS = (
    "deployment,service,persistentvolumeclaim,poddisruptionbudget,ingress,networkpolicy,"
    "horizontalpodautoscaler"
)
WITH_OTHERS = f"{KINDS},httproute,scaledobject,rayservice"
LEAST = ("deployment", "service")
CACHE_AND_BUDGET = ("persistentvolumeclaim", "poddisruptionbudget")


def parts(kubectl: Kubectl, service: str, kinds: str = KINDS) -> list[str]:
    """The kinds of the service's children, one for each child."""
    selector = f"app.kubernetes.io/instance={service}"
    return sorted(kind for kind in kinds.split(",") for _ in kubectl.list(kind, selector))


def become(
    kubectl: Kubectl,
    service: str,
    *optional: str,
    kinds: str = KINDS,
    least: Sequence[str] = LEAST,
) -> None:
    """Waits until the service has the children that each has, and only these beside them."""
    eventually(
        lambda: parts(kubectl, service, kinds) == sorted([*least, *optional]),
        within=60,
        every=0.5,
        what=f"{service} with {optional}",
    )


@contextmanager
def known(cluster: Kubectl, *kinds: Object) -> Iterator[None]:
    """Installs these kinds in the cluster for the time of the context."""
    for kind in kinds:
        cluster.apply(kind)
    try:
        yield
    finally:
        for kind in kinds:
            cluster.delete(kind["kind"], kind["metadata"]["name"])


def test_children_that_are_no_longer_needed_go(
    cluster: Kubectl, kubectl: Kubectl, installed: Installed
) -> None:
    ray: Object = {"backend": "rayserve", "rayserve": {"topology": "cluster"}, "model": CACHED}
    waiting: Object = {"gpu": {"type": "standin"}, "autoscaling": SCALING, "route": GATEWAY}
    nothing: Object = {"autoscaling": None, "route": None}
    least: Object = {"backend": "fastapi", "replicas": 1, "rayserve": None, "model": LITTLE}
    # The operator watches other software's kinds from its start; its new settings restart it.
    with known(cluster, HTTP_ROUTES, SCALED_OBJECTS, RAY_SERVICES, RAY_CLUSTERS):
        with settings_of(installed, "networkPolicy.enabled=true"):
            kubectl.apply(diffusion_service("ray", replicas=2, **ray))
            kubectl.apply(diffusion_service("open", **waiting))
            become(
                *(kubectl, "ray", *CACHE_AND_BUDGET, "networkpolicy", "rayservice"),
                kinds=WITH_OTHERS,
                least=["service"],
            )
            outside = ("httproute", "scaledobject")
            become(
                kubectl, "open", "poddisruptionbudget", "networkpolicy", *outside, kinds=WITH_OTHERS
            )
            report_refused_pods(kubectl, "ray")
            kubectl.patch("dsvc", "open", {"spec": nothing})
            kubectl.patch("dsvc", "ray", {"spec": {**least, "suspend": True}})
            become(kubectl, "open", "networkpolicy", kinds=WITH_OTHERS)
            become(kubectl, "ray", "networkpolicy", kinds=WITH_OTHERS)
        become(kubectl, "open")
        become(kubectl, "ray")
    with known(cluster, CUSTOM_METRICS):
        kubectl.patch("dsvc", "open", {"spec": {"autoscaling": SCALING, "route": INGRESS}})
        become(kubectl, "open", "poddisruptionbudget", "ingress", "horizontalpodautoscaler")
        kubectl.patch("dsvc", "open", {"spec": nothing})
        become(kubectl, "open")


def report_refused_pods(kubectl: Kubectl, name: str) -> None:
    """Plays KubeRay, which reports refused pods in the RayCluster's status only."""
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreateWorkerPod",
               "lastTransitionTime": "2026-01-02T03:04:05Z",
               "message": "pods is forbidden: exceeded quota: few"}  # fmt: skip
    meta = {"name": f"{name}-1"}
    status = {"conditions": [refused]}
    kubectl.apply(
        {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": meta, "status": status}
    )
    coming = {"pendingServiceStatus": {"rayClusterName": meta["name"]}}
    kubectl.patch("rayservice", name, {"status": coming})
    eventually(
        lambda: ready_reason(kubectl, name) == "QuotaExceeded", within=60, what="the refusal"
    )
