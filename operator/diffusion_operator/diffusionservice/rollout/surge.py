"""Surge: whether a new pod fits beside the old ones.

The scheduler decides: it alone knows taints, affinity, quotas and other pods. Each rollout begins
with one surge pod; where that fits no node for lack of a resource that an old pod holds, an old pod
terminates first.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.kube.pod_status import has_ended, pod_revision, unschedulable
from diffusion_operator.kube.workload import Workload

# The scheduler writes for example: 0/3 nodes are available: 2 Insufficient nvidia.com/gpu.
_LACKING = re.compile(r"Insufficient ([^ ,]+?)\.?(?=[ ,]|$)")
_PLACE = ("nodeSelector", "affinity")


def must_go_in_place(
    built: Mapping[str, Any], observed: Mapping[str, Any] | None, pods: Iterable[Mapping[str, Any]]
) -> bool:
    """Whether old pods have to terminate before pods of the built Deployment can start.

    The answer stays the same for that revision, otherwise each further pod would try and fail
    again.
    """
    if observed is None or revision_of(observed) != revision_of(built):
        return False
    if Workload.of_deployment(observed).is_in_place:
        return True
    alive = [
        pod for pod in pods if not (pod["metadata"].get("deletionTimestamp") or has_ended(pod))
    ]
    current = [pod for pod in alive if pod_revision(pod) == revision_of(built)]
    older = [pod for pod in alive if pod_revision(pod) != revision_of(built)]
    return any(_makes_room(old, new) for new in current for old in older)


def _makes_room(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new pod lacks a resource that the old pod holds."""
    refused = unschedulable(new)
    lacking = set(_LACKING.findall(refused.message)) if refused else set()
    same_place = all(old["spec"].get(at) == new["spec"].get(at) for at in _PLACE)
    return (
        bool(lacking)
        and same_place
        and all(_requested(old, what) >= _requested(new, what) for what in lacking)
    )


def _requested(pod: Mapping[str, Any], resource: str) -> Decimal:
    quantities = [
        ((container.get("resources") or {}).get("requests") or {}).get(resource, "0")
        for container in pod["spec"].get("containers") or ()
    ]
    return sum(map(parse_quantity, quantities), Decimal(0))
