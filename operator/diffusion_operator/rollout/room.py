"""Whether a rollout has room for a pod beside the old ones.

The scheduler is the judge: it alone knows of taints, affinity, quotas and other people's pods. So
every rollout begins with one pod more; where the scheduler finds no room for it that an old pod
takes up, an old one ends first.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from diffusion_operator.build.deployment import is_in_place, revision_of
from diffusion_operator.observe import found_no_node, has_ended, pod_revision

# The scheduler says for example: 0/3 nodes are available: 2 Insufficient nvidia.com/gpu.
_LACKING = re.compile(r"Insufficient ([^ ,]+?)\.?(?=[ ,]|$)")
_PLACE = ("nodeSelector", "affinity")


def must_go_in_place(
    built: Mapping[str, Any], live: Mapping[str, Any] | None, pods: Iterable[Mapping[str, Any]]
) -> bool:
    """Whether old pods have to end before those of the built Deployment can start.

    Once so it stays so for that revision, or each further pod would be tried and found without
    room anew.
    """
    if live is None or revision_of(live) != revision_of(built):
        return False
    if is_in_place(live):
        return True
    alive = [
        pod for pod in pods if not (pod["metadata"].get("deletionTimestamp") or has_ended(pod))
    ]
    current = [pod for pod in alive if pod_revision(pod) == revision_of(built)]
    older = [pod for pod in alive if pod_revision(pod) != revision_of(built)]
    return any(_makes_room(old, new) for new in current for old in older)


def _makes_room(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new pod finds no node for lack of what the old one holds."""
    refused = found_no_node(new)
    lacking = set(_LACKING.findall(refused.get("message", ""))) if refused else set()
    same_place = all(old["spec"].get(at) == new["spec"].get(at) for at in _PLACE)
    return (
        bool(lacking)
        and same_place
        and all(_requested(old, what) >= _requested(new, what) for what in lacking)
    )


def _requested(pod: Mapping[str, Any], resource: str) -> Decimal:
    asked = [
        ((container.get("resources") or {}).get("requests") or {}).get(resource, "0")
        for container in pod["spec"].get("containers") or ()
    ]
    return sum(map(parse_quantity, asked), Decimal(0))
