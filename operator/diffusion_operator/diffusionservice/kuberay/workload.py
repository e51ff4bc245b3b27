"""RayService as a workload: its group of workers, counted as a Deployment's pods would be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffusion_operator.api.observed import ObservedStatus
from diffusion_operator.diffusionservice.specs.ray_service import REPLICA_FIELDS, workers_of
from diffusion_operator.kube.objects import REVISION_LABEL, Object, labels_of
from diffusion_operator.kube.pod_status import has_ended, is_ready, pod_revision
from diffusion_operator.kube.workload import Workload

# KubeRay sets this label on each pod of a RayCluster.
CLUSTER_LABEL = "ray.io/cluster"


@dataclass(frozen=True)
class RayWorkload(Workload):
    """Workload of a RayService's workers."""

    served_cluster: str = ""
    """RayCluster that serves, by KubeRay's own status."""
    pending_cluster: str = ""
    """RayCluster that KubeRay prepares to take over."""

    @property
    def coming_cluster(self) -> str:
        """RayCluster that will serve: the pending one, or else the serving one."""
        return self.pending_cluster or self.served_cluster

    @property
    def is_awaited(self) -> bool:
        """Whether KubeRay has yet to act on the current RayService.

        KubeRay reports that only with the next change of its status; the pods may exist before.
        """
        if self.coming_cluster and self.updated_replicas >= (self.desired_replicas or 0):
            return False
        return not self.is_observed

    @property
    def all_answer(self) -> bool:
        """Whether all desired workers exist and answer."""
        counts = {self.replicas, self.updated_replicas, self.ready_replicas}
        return counts == {self.desired_replicas}

    def with_conditions_of(self, ray_cluster: Mapping[str, Any] | None) -> "RayWorkload":
        """Copy with the RayCluster's conditions, which report refused pods as a Deployment's do.

        The RayService repeats them only when something else in its status changes.
        """
        return replace(self, conditions=ObservedStatus.of(ray_cluster).conditions)


def ray_workload(ray_service: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> RayWorkload:
    """Workload of a built or observed RayService and its workers' pods."""
    workers, status = workers_of(ray_service), ray_service.get("status") or {}
    revision = labels_of(workers["template"]).get(REVISION_LABEL, "")
    served = _cluster(status, "activeServiceStatus")
    alive = [
        pod
        for pod in counted(pods, revision, served)
        if not (pod["metadata"].get("deletionTimestamp") or has_ended(pod))
    ]
    current = [pod for pod in alive if pod_revision(pod) == revision]
    ready = sum(is_ready(pod) for pod in current)
    metadata = ray_service["metadata"]
    return RayWorkload(
        generation=metadata.get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        desired_replicas=workers["replicas"],
        replicas=len(alive),
        updated_replicas=len(current),
        ready_replicas=ready,
        available_replicas=ready,
        template=workers["template"],
        annotations=metadata.get("annotations") or {},
        served_cluster=served,
        pending_cluster=_cluster(status, "pendingServiceStatus"),
    )


def counted(
    pods: Iterable[Mapping[str, Any]], revision: str, served: str
) -> list[Mapping[str, Any]]:
    """Pods without those of a second cluster beside the ``served`` one of the same revision.

    KubeRay creates such a cluster where a change is reverted before its takeover.
    """
    every = list(pods)
    current = [pod for pod in every if pod_revision(pod) == revision]
    others = [pod for pod in every if pod_revision(pod) != revision]
    of_served = [pod for pod in current if labels_of(pod).get(CLUSTER_LABEL) == served]
    return [*others, *(of_served or current)]


def scale_operations(ray_cluster: Mapping[str, Any], replicas: int) -> list[Object]:
    """JSON patch that gives the RayCluster so many workers; empty where it asks for them already.

    Replicas stay within their bounds, so that these change too.
    """
    groups = (ray_cluster.get("spec") or {}).get("workerGroupSpecs") or ()
    if not groups or all(groups[0].get(field) == replicas for field in REPLICA_FIELDS):
        return []
    group = "/spec/workerGroupSpecs/0"
    return [
        {"op": "test", "path": f"{group}/groupName", "value": groups[0]["groupName"]},
        *({"op": "add", "path": f"{group}/{field}", "value": replicas} for field in REPLICA_FIELDS),
    ]


def _cluster(status: Mapping[str, Any], part: str) -> str:
    return str((status.get(part) or {}).get("rayClusterName") or "")
