"""An account of the operator's own on a control plane, with the rights that its chart gives it."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from kubectl import Kubectl

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
_OF_RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def chart(release: str, namespace: str, *values: str) -> list[Object]:
    """The chart's objects that say who the operator is and what it may do."""
    helm = [sys.executable, "-m", "localcluster", "tool", "helm"]
    program = subprocess.check_output(helm, cwd=ROOT, text=True).strip()
    command = [program, "template", release, "deploy/chart", f"--namespace={namespace}"]
    text = subprocess.check_output([*command, *(f"--set={value}" for value in values)], cwd=ROOT)
    return [found for found in yaml.safe_load_all(text) if found and found["kind"] in _OF_RIGHTS]


def kubeconfig_of_the_operator(cluster: Kubectl, objects: Iterable[Object], directory: Path) -> str:
    """Make the account with its rights, and a file in the directory for who acts as it."""
    objects = list(objects)
    (account,) = [found["metadata"] for found in objects if found["kind"] == "ServiceAccount"]
    own = cluster.in_namespace(account["namespace"])
    for found in objects:
        own.in_namespace(found["metadata"].get("namespace", own.namespace)).apply(found)
    token = own("create", "token", account["name"], "--duration=12h").strip()
    config = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    config["users"][0]["user"] = {"token": token}
    file = directory / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))
    return str(file)
