"""Wait for a node: an autoscaler may add one before an old pod has to make room."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import seconds
from diffusion_operator.kube.conditions import Verdict
from diffusion_operator.kube.pod_status import unschedulable
from diffusion_operator.settings import Rollouts

# The cluster autoscaler's Events about a pod, and Karpenter's.
_ADDS_NODE = frozenset({"TriggeredScaleUp", "Nominated"})
_ADDS_NO_NODE = frozenset({"NotTriggerScaleUp"})
# An autoscaler's Event wakes no reconciler.
NODE_AGAIN_SECONDS = 5.0


def node_wait(
    spec: DiffusionServiceSpec,
    settings: Rollouts,
    pod: Mapping[str, Any],
    events: Iterable[Mapping[str, Any]],
    now: str,
) -> float:
    """Seconds for which the pod's node is still waited for; 0 where none comes.

    An autoscaler takes a moment to answer for a pod that fits no node.
    """
    refused = unschedulable(pod)
    if refused is None:
        return 0.0
    since = refused.last_transition_time or pod["metadata"].get("creationTimestamp") or now
    answers = [each for each in events if each.get("reason") in _ADDS_NODE | _ADDS_NO_NODE]
    latest = max(answers, key=_time, default=None)
    patience = float(settings.scale_up_grace_seconds)
    if latest is not None:
        adds = latest["reason"] in _ADDS_NODE
        patience = seconds(spec.rollout.surge_timeout) if adds else 0.0
    waited = datetime.fromisoformat(now) - datetime.fromisoformat(since)
    return max(0.0, patience - waited.total_seconds())


def _time(event: Mapping[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def waiting_for_node(spec: DiffusionServiceSpec, message: str) -> Verdict:
    """Progressing condition of a rollout whose new pod may get a node of its own."""
    return Verdict(
        "Progressing",
        "True",
        "AwaitingNode",
        f"the new pod fits no node yet ({message}); the old pods serve meanwhile, and the rollout "
        f"waits up to {spec.rollout.surge_timeout} for a node that the autoscaler adds",
    )
