"""Workload: the owner of a service's pods as one value, whichever kind it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from diffusion_operator.api.observed import ObservedCondition, ObservedStatus
from diffusion_operator.kube.objects import REVISION_LABEL, Object
from diffusion_operator.kube.problems import Problem


@dataclass(frozen=True)
class Workload:
    """Deployment, or another kind's equivalent of one, observed or desired."""

    generation: int
    observed_generation: int
    """Generation that its controller has acted on."""
    desired_replicas: int | None
    """``None`` where the field is unset, which Kubernetes takes for 1."""
    replicas: int
    updated_replicas: int
    ready_replicas: int
    available_replicas: int
    template: Object
    strategy: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[ObservedCondition, ...] = ()

    @classmethod
    def of_deployment(cls, deployment: Mapping[str, Any]) -> Self:
        """Workload of the Deployment."""
        metadata, spec = deployment.get("metadata") or {}, deployment["spec"]
        status = deployment.get("status") or {}
        return cls(
            generation=metadata.get("generation", 0),
            observed_generation=status.get("observedGeneration", 0),
            desired_replicas=spec.get("replicas"),
            replicas=status.get("replicas", 0),
            updated_replicas=status.get("updatedReplicas", 0),
            ready_replicas=status.get("readyReplicas", 0),
            available_replicas=status.get("availableReplicas", 0),
            template=spec["template"],
            strategy=spec.get("strategy") or {},
            annotations=metadata.get("annotations") or {},
            conditions=ObservedStatus.of(deployment).conditions,
        )

    @property
    def expected_replicas(self) -> int:
        """Number of replicas that its controller creates."""
        return 1 if self.desired_replicas is None else self.desired_replicas

    @property
    def revision(self) -> str:
        """Revision of its pod template."""
        labels = self.template["metadata"].get("labels") or {}
        return str(labels.get(REVISION_LABEL, ""))

    @property
    def is_observed(self) -> bool:
        """Whether its controller has acted on the workload as it is."""
        return self.observed_generation >= self.generation

    @property
    def is_in_place(self) -> bool:
        """Whether a rollout ends an old pod before it starts a new one."""
        return (self.strategy.get("rollingUpdate") or {}).get("maxSurge") == 0

    @property
    def is_overdue(self) -> bool:
        """Whether the pods of this generation did not become ready in time."""
        moving = self.condition("Progressing")
        late = moving is not None and moving.reason == "ProgressDeadlineExceeded"
        return late and self.is_observed

    def condition(self, kind: str) -> ObservedCondition | None:
        """Condition of that type, or ``None``."""
        return next((each for each in self.conditions if each.type == kind), None)


def refusal_of_pods(workload: Workload) -> Problem | None:
    """Reason for which the API server refuses the workload's pods, such as a quota."""
    refused = workload.condition("ReplicaFailure")
    if refused is None or not refused.is_true:
        return None
    message = refused.message
    return Problem("QuotaExceeded" if "quota" in message else "Forbidden", message)
