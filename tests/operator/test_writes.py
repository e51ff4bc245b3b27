"""The operator's writes for a service, counted in the API server's audit log."""

from collections import Counter
from pathlib import Path
from typing import Any

from kubectl import Kubectl, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import make_pods_ready
from rights import done_by

Object = dict[str, Any]

USER = "system:serviceaccount:default:diffusion-operator"
WRITES = {"create", "update", "patch", "delete"}
LEAST = ("deployments", "serviceaccounts", "services")
# The second replica adds a PodDisruptionBudget, and each other field one child.
MORE: Object = {
    "replicas": 2,
    "route": {"host": "a.test", "ingressClassName": "nginx"},
    "model": {"source": "hf://nobody/nothing", "cache": {"size": "1Gi"}},
}
THEIRS = ("ingresses", "persistentvolumeclaims", "poddisruptionbudgets")


def children_written(kubectl: Kubectl) -> Counter[str]:
    """Counts the operator's writes to the namespace by resource, without services and events."""
    log = Path(kubectl.kubeconfig).parent / "logs" / "audit.log"
    return Counter(
        event["objectRef"]["resource"]
        for event in done_by(USER, [log], since=0)
        if event["objectRef"].get("namespace") == kubectl.namespace
        and event["verb"] in WRITES
        and event["objectRef"]["resource"] not in {"diffusionservices", "events"}
    )


def test_each_child_is_written_once_and_an_optional_one_is_one_write_more(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    make_pods_ready(kubectl)
    assert children_written(kubectl) == Counter(LEAST)
    kubectl.apply(diffusion_service("more", **MORE))
    eventually(lambda: kubectl.find("ingress", "more"), what="the Ingress")
    make_pods_ready(kubectl, "more")
    assert children_written(kubectl) == Counter((*LEAST, *LEAST, *THEIRS))
