"""What a load runner may do: patch the one ConfigMap its report goes to."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.build.metadata import child
from diffusion_operator.objects import Object

RBAC = "rbac.authorization.k8s.io"


def report_config_map(owner: Mapping[str, Any], name: str) -> Object:
    """The ConfigMap; its data belongs to the runner, so none is given here."""
    return child(owner, "v1", "ConfigMap", name)


def role(owner: Mapping[str, Any], name: str) -> Object:
    only_the_report = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [name],
        "verbs": ["patch"],
    }
    return child(owner, f"{RBAC}/v1", "Role", name, rules=[only_the_report])


def role_binding(owner: Mapping[str, Any], name: str) -> Object:
    namespace = owner["metadata"]["namespace"]
    return child(
        owner,
        f"{RBAC}/v1",
        "RoleBinding",
        name,
        roleRef={"apiGroup": RBAC, "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    )
