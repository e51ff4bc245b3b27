"""Access of a load runner: it may patch its report's ConfigMap."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object

RBAC = "rbac.authorization.k8s.io"


def access_name(test: Mapping[str, Any]) -> str:
    """Name of the runner's ServiceAccount, Role and RoleBinding, and of the report's ConfigMap."""
    return f"{test['metadata']['name']}-loadtest"


def report_config_map(owner: Mapping[str, Any], name: str) -> Object:
    """ConfigMap of the report; the runner owns its data."""
    return child(owner, "ConfigMap", name)


def role(owner: Mapping[str, Any], name: str) -> Object:
    only_the_report = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [name],
        "verbs": ["patch"],
    }
    return child(owner, "Role", name, rules=[only_the_report])


def role_binding(owner: Mapping[str, Any], name: str) -> Object:
    namespace = owner["metadata"]["namespace"]
    return child(
        owner,
        "RoleBinding",
        name,
        roleRef={"apiGroup": RBAC, "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    )
