"""Surge: whether a new pod fits beside the old ones.

Scheduler and quotas decide: they alone know taints, affinity, volumes and other pods. Each rollout
begins with one surge pod; where that has no room for lack of something that an old pod holds, an
old pod terminates first.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.kube.pod_status import has_ended, pod_revision, unschedulable
from diffusion_operator.kube.workload import Workload

Pod = Mapping[str, Any]
# The scheduler writes for example: 0/3 nodes are available: 2 Insufficient nvidia.com/gpu.
_LACKING = re.compile(r"Insufficient ([^ ,]+?)\.?(?=[ ,]|$)")
# Admission writes: exceeded quota: q, requested: pods=1,requests.nvidia.com/gpu=1, used: ….
_OVER_QUOTA = re.compile(r"exceeded quota: \S+, requested: (\S+), used:")
_PLACE = ("nodeSelector", "affinity")


@dataclass(frozen=True)
class Shortage:
    """Lack of something that an old pod holds."""

    message: str
    """Words of the scheduler or of the quota."""
    pod: Pod | None = None
    """Pod that the scheduler refused, which a new node would help; ``None`` for a quota."""


def is_in_place(built: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    """Whether the rollout of the built revision is in place already.

    The answer stays the same for that revision, otherwise each further pod would try and fail
    again.
    """
    same = revision_of(observed) == revision_of(built)
    return same and Workload.of_deployment(observed).is_in_place


def shortage_of(
    built: Mapping[str, Any], observed: Mapping[str, Any], pods: Iterable[Pod]
) -> Shortage | None:
    """Shortage that the end of an old pod would mend, or ``None``."""
    if revision_of(observed) != revision_of(built):
        return None
    alive = [
        pod for pod in pods if not (pod["metadata"].get("deletionTimestamp") or has_ended(pod))
    ]
    current = [pod for pod in alive if pod_revision(pod) == revision_of(built)]
    older = [pod for pod in alive if pod_revision(pod) != revision_of(built)]
    for new in current:
        refused = unschedulable(new)
        if refused and any(_makes_room(old, new, refused.message) for old in older):
            return Shortage(refused.message, new)
    refusal = Workload.of_deployment(observed).condition("ReplicaFailure")
    if refusal is None or not refusal.is_true:
        return None
    over = _OVER_QUOTA.search(refusal.message)
    if over and any(_frees(old, dict(_requests(over[1]))) for old in older):
        return Shortage(refusal.message)
    return None


def _makes_room(old: Pod, new: Pod, message: str) -> bool:
    """Whether the new pod would fit where the old pod is."""
    lacking = set(_LACKING.findall(message))
    shared = [holds(old, new) for words, holds in _EXCLUSIVE.items() if words in message]
    same_place = all(old["spec"].get(at) == new["spec"].get(at) for at in _PLACE)
    return (
        bool(lacking or shared)
        and same_place
        and all(shared)
        and all(_requested(old, what) >= _requested(new, what) for what in lacking)
    )


def _share_a_claim(old: Pod, new: Pod) -> bool:
    return bool(_claims(old) & _claims(new))


def _claims(pod: Pod) -> set[str]:
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }


def _share_the_ports(old: Pod, new: Pod) -> bool:
    return bool(_host_ports(new)) and _host_ports(new) <= _host_ports(old)


def _host_ports(pod: Pod) -> set[tuple[int, str]]:
    return {
        (port["hostPort"], port.get("protocol", "TCP"))
        for container in pod["spec"].get("containers") or ()
        for port in container.get("ports") or ()
        if "hostPort" in port
    }


def _share_anti_affinity(old: Pod, new: Pod) -> bool:
    """Whether both pods keep others away in the same way."""
    rules = [(pod["spec"].get("affinity") or {}).get("podAntiAffinity") for pod in (old, new)]
    return bool(rules[1]) and rules[0] == rules[1]


def _share_the_spread(old: Pod, new: Pod) -> bool:
    field = "topologySpreadConstraints"
    return _without_hash(old["spec"].get(field)) == _without_hash(new["spec"].get(field))


def _without_hash(constraints: Any) -> list[dict[str, Any]]:
    """Constraints without the selector, to which the API server adds the pod-template-hash."""
    return [
        {name: value for name, value in each.items() if name != "labelSelector"}
        for each in constraints or ()
    ]


# The scheduler's words for a thing that one pod holds alone, and whether the old pod holds it.
_EXCLUSIVE: Mapping[str, Callable[[Pod, Pod], bool]] = {
    "ReadWriteOncePod": _share_a_claim,
    "free ports for the requested pod ports": _share_the_ports,
    "pod anti-affinity rules": _share_anti_affinity,
    "existing pods anti-affinity rules": _share_anti_affinity,
    "pod topology spread constraints": _share_the_spread,
}


def _requested(pod: Pod, resource: str, kind: str = "requests") -> Decimal:
    quantities = [
        ((container.get("resources") or {}).get(kind) or {}).get(resource, "0")
        for container in pod["spec"].get("containers") or ()
    ]
    return sum(map(parse_quantity, quantities), Decimal(0))


def _requests(text: str) -> Iterator[tuple[str, Decimal]]:
    """Resources of a quota and what the pod requests of each."""
    for each in text.split(","):
        name, _, quantity = each.partition("=")
        yield name, parse_quantity(quantity)


def _frees(old: Pod, needed: Mapping[str, Decimal]) -> bool:
    """Whether the old pod counts for at least as much in the quota."""
    return all(_counted(old, name) >= quantity for name, quantity in needed.items())


def _counted(pod: Pod, name: str) -> Decimal:
    if name in {"pods", "count/pods"}:
        return Decimal(1)
    kind, _, resource = name.partition(".")
    if kind in {"requests", "limits"} and resource:
        return _requested(pod, resource, kind)
    return _requested(pod, name)
