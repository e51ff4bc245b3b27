"""What an earlier release made is taken over as it is."""

import json

from kubectl import Kubectl, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import CHILDREN, children, make_pods_ready

DIGEST = "diffusion.dev/applied-digest"


def identities(kubectl: Kubectl, kinds: tuple[str, ...]) -> dict[str, str]:
    """The uid of each object of the service, by kind and name."""
    return {
        f"{kind}/{found['metadata']['name']}": found["metadata"]["uid"]
        for kind in kinds
        for found in kubectl.list(kind, "diffusion.dev/service=demo")
    }


def as_an_earlier_release_made_it(kubectl: Kubectl) -> None:
    """The same pods in a Deployment that is otherwise another, applied under the same manager."""
    deployment = kubectl.get("deployment", "demo")
    meta = deployment["metadata"]
    kept = ("name", "namespace", "labels", "ownerReferences")
    # What the API server and kubectl add is no one's wish.
    spec = {**deployment["spec"], "revisionHistoryLimit": 7, "minReadySeconds": 1}
    earlier = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **{name: meta[name] for name in kept},
            "annotations": {DIGEST: "0123456789"},
        },
        "spec": spec,
    }
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=diffusion-operator")
    kubectl(*apply, "-f", "-", stdin=json.dumps(earlier))


def test_a_release_that_changes_nothing_about_the_pods_restarts_none(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children")
    make_pods_ready(kubectl)
    kinds = (*CHILDREN, "replicaset", "pod")
    before = identities(kubectl, kinds)
    operator.stop()
    as_an_earlier_release_made_it(kubectl)
    operator.start()

    def taken_over() -> bool:
        deployment = kubectl.get("deployment", "demo")
        digest = deployment["metadata"]["annotations"][DIGEST]
        seen = deployment["status"].get("observedGeneration")
        return bool(digest != "0123456789" and seen == deployment["metadata"]["generation"])

    eventually(taken_over, what="the Deployment to be this release's")
    assert kubectl.get("deployment", "demo")["spec"]["revisionHistoryLimit"] != 7
    # What an earlier release asked for and this one doesn't goes with it.
    assert not kubectl.get("deployment", "demo")["spec"].get("minReadySeconds")
    make_pods_ready(kubectl)
    assert identities(kubectl, kinds) == before
