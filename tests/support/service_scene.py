"""A DiffusionService with observed objects, for the tests of its status."""

from dataclasses import replace
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec, DiffusionServiceStatus
from diffusion_operator.diffusionservice.pod_counts import observe_pods, with_head
from diffusion_operator.diffusionservice.specs.deployment import (
    deployment,
    revision_of,
)
from diffusion_operator.diffusionservice.status import service_status
from diffusion_operator.kube.problems import Problem
from diffusion_operator.kube.workload import Workload
from diffusion_operator.settings import Settings

Object = dict[str, Any]


NOW = "2026-01-02T03:04:05Z"


BEFORE = "2025-01-01T00:00:00Z"


ALL = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


class Scene:
    """A service of two replicas, with its Deployment and its pods."""

    def __init__(self, service: Object, settings: Settings) -> None:
        self.service = service
        self.spec = DiffusionServiceSpec.model_validate(service["spec"])
        self.deployment: Object = deployment(service, self.spec, settings)
        self.deployment["metadata"]["generation"] = 1
        self.revision = revision_of(self.deployment)
        self.pods: list[Object] = []
        self.heads: list[Object] = []
        self.endpoints: int | None = None

    def counts(self, **counts: int) -> None:
        self.deployment["status"] = {"observedGeneration": 1, **counts}

    def pod(self, *, ready: bool = False, revision: str | None = None, **status: Any) -> Object:
        pod = {
            "metadata": {
                "name": f"demo-{len(self.pods)}",
                "uid": f"uid-{len(self.pods)}",
                "labels": {"diffusion.dev/revision": revision or self.revision},
                "creationTimestamp": BEFORE,
            },
            "spec": {"nodeName": "node"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                **status,
            },
        }
        self.pods.append(pod)
        return pod

    def add_ended_pod(self, **terminated: Any) -> None:
        """Adds a pod whose container ended and waits for its restart."""
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        container = {"state": waiting, "lastState": {"terminated": terminated}, "ready": False}
        self.pod(containerStatuses=[container])

    def status(
        self, problem: Problem | None = None, *, readable: bool = True, made: bool = True
    ) -> DiffusionServiceStatus:
        pods = replace(observe_pods(self.pods, self.revision), endpoints=self.endpoints)
        if self.heads:
            pods = with_head(pods, observe_pods(self.heads, self.revision))
        return service_status(
            self.service,
            self.spec if readable else None,
            precision="float32",
            workload=Workload.of_deployment(self.deployment) if made else None,
            pods=pods,
            problem=problem,
            now=NOW,
        )

    def condition(self, kind: str, problem: Problem | None = None) -> tuple[str, str]:
        conditions = {each.type: each for each in self.status(problem).conditions}
        return conditions[kind].status, conditions[kind].reason
