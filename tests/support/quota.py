"""A ResourceQuota that is enforced when the function returns."""

from typing import Any

from kubectl import Kubectl, KubectlError, eventually

Object = dict[str, Any]

NAME = "none"


_POD_SPEC = {"containers": [{"name": "probe", "image": "x"}], "restartPolicy": "Never"}
_TEMPLATE = {"metadata": {"labels": {"app": "probe"}}, "spec": _POD_SPEC}
POD: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "probe"},
    "spec": _POD_SPEC,
}
DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "probe"},
    "spec": {
        "selector": {"matchLabels": {"app": "probe"}},
        "template": {**_TEMPLATE, "spec": {"containers": _POD_SPEC["containers"]}},
    },
}
JOB: Object = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "probe"},
    "spec": {"template": _TEMPLATE},
}


def limit(kubectl: Kubectl, resource: str, attempt: Object) -> None:
    """Allows none of the resource, and waits until a dry run of ``attempt`` is refused.

    The quota has a status a moment before admission enforces it, so only a refusal is proof.
    """
    kubectl.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": NAME},
            "spec": {"hard": {resource: "0"}},
        }
    )

    def holds() -> bool:
        try:
            kubectl.create(attempt, dry_run=True)
        except KubectlError as error:
            return "exceeded quota" in str(error)
        return False

    eventually(holds, what="the quota to hold")
