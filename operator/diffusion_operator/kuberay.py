"""What a RayService and its pods tell, in the words of a Deployment of the workers.

So one function makes the status, whoever makes the pods.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from diffusion_operator.build.ray_service import workers_of
from diffusion_operator.objects import REVISION_LABEL, Object, labels_of
from diffusion_operator.observe import has_ended, is_ready, pod_revision


def as_deployment(found: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> Object:
    """A built or live RayService, with its workers' ``pods`` counted as a Deployment's would be.

    The conditions are those of the RayCluster that is to serve: one tells of pods that were
    refused, in a Deployment's own words.
    """
    workers, said = workers_of(found), found.get("status") or {}
    revision = labels_of(workers["template"]).get(REVISION_LABEL, "")
    alive = [
        pod for pod in pods if not (pod["metadata"].get("deletionTimestamp") or has_ended(pod))
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
            "conditions": _coming(said).get("conditions") or [],
        },
        "served": _cluster(said, "activeServiceStatus"),
    }


def _coming(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is said of the RayCluster that is made, or else of the one that serves."""
    for part in ("pendingServiceStatus", "activeServiceStatus"):
        if _cluster(said, part):
            found: Mapping[str, Any] = said[part].get("rayClusterStatus") or {}
            return found
    return {}


def _cluster(said: Mapping[str, Any], part: str) -> str:
    return str((said.get(part) or {}).get("rayClusterName") or "")


def is_kuberays(deployment: Mapping[str, Any] | None) -> bool:
    """Whether KubeRay makes the pods."""
    return deployment is not None and deployment["kind"] == "RayService"


def is_unheard(deployment: Mapping[str, Any]) -> bool:
    """Whether KubeRay has yet to act on the RayService as it is."""
    said = int(deployment["status"]["observedGeneration"])
    return said < int(deployment["metadata"].get("generation", 0))


def served_cluster(deployment: Mapping[str, Any]) -> str:
    """The RayCluster that KubeRay counts as serving, if there is one."""
    return str(deployment["served"])
