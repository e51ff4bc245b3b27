"""What a RayService and its pods tell, in the words of a Deployment of the workers.

So one function makes the status, whoever makes the pods.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from diffusion_operator.build.ray_service import workers_of
from diffusion_operator.objects import REVISION_LABEL, Object, labels_of
from diffusion_operator.observe import has_ended, is_ready, pod_revision

# KubeRay's own, on each pod of a RayCluster.
CLUSTER_LABEL = "ray.io/cluster"


def as_deployment(found: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> Object:
    """A built or live RayService, with its workers' ``pods`` counted as a Deployment's would be."""
    workers, said = workers_of(found), found.get("status") or {}
    revision = labels_of(workers["template"]).get(REVISION_LABEL, "")
    served = _cluster(said, "activeServiceStatus")
    alive = [
        pod
        for pod in counted(pods, revision, served)
        if not (pod["metadata"].get("deletionTimestamp") or has_ended(pod))
    ]
    current = [pod for pod in alive if pod_revision(pod) == revision]
    ready = sum(is_ready(pod) for pod in current)
    return {
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": found["metadata"],
        "spec": {"replicas": workers["replicas"], "template": workers["template"]},
        "status": {
            "observedGeneration": said.get("observedGeneration", 0),
            "replicas": len(alive),
            "updatedReplicas": len(current),
            "readyReplicas": ready,
            "availableReplicas": ready,
        },
        "served": served,
        "coming": _cluster(said, "pendingServiceStatus"),
    }


def counted(
    pods: Iterable[Mapping[str, Any]], revision: str, served: str
) -> list[Mapping[str, Any]]:
    """The pods without those of a second cluster beside a ``served`` one of the same revision.

    KubeRay makes such a second one where a change is taken back before it has taken over.
    """
    found = list(pods)
    current = [pod for pod in found if pod_revision(pod) == revision]
    others = [pod for pod in found if pod_revision(pod) != revision]
    of_served = [pod for pod in current if labels_of(pod).get(CLUSTER_LABEL) == served]
    return [*others, *(of_served or current)]


def _cluster(said: Mapping[str, Any], part: str) -> str:
    return str((said.get(part) or {}).get("rayClusterName") or "")


def is_kuberays(deployment: Mapping[str, Any] | None) -> bool:
    """Whether KubeRay makes the pods."""
    return deployment is not None and deployment["kind"] == "RayService"


def is_unheard(deployment: Mapping[str, Any]) -> bool:
    """Whether KubeRay has yet to act on the RayService as it is.

    It says so only with the next change of its status; the pods may be there before.
    """
    status = deployment["status"]
    if coming_cluster(deployment) and status["updatedReplicas"] >= deployment["spec"]["replicas"]:
        return False
    return int(status["observedGeneration"]) < int(deployment["metadata"].get("generation", 0))


def served_cluster(deployment: Mapping[str, Any]) -> str:
    """The RayCluster that KubeRay counts as serving, if there is one."""
    return str(deployment["served"])


def coming_cluster(deployment: Mapping[str, Any]) -> str:
    """The RayCluster that is to serve: the one that is made, or else the one that serves."""
    return str(deployment["coming"]) or served_cluster(deployment)


def all_answer(deployment: Mapping[str, Any]) -> bool:
    """Whether the workers are there as asked for, and answer."""
    status = deployment["status"]
    counts = {status[name] for name in ("replicas", "updatedReplicas", "readyReplicas")}
    return bool(counts == {deployment["spec"]["replicas"]})


def told_by(deployment: Object, ray_cluster: Mapping[str, Any] | None) -> Object:
    """The Deployment with what its RayCluster says, which of refused pods says a Deployment's word.

    The RayService repeats it, but only when something else of its status changes.
    """
    said = ((ray_cluster or {}).get("status") or {}).get("conditions") or []
    return {**deployment, "status": {**deployment["status"], "conditions": said}}
