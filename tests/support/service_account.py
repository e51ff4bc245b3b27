"""The operator's ServiceAccount on a control plane, with the rights of its chart."""

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
    """The chart's ServiceAccount, roles and bindings."""
    helm = [sys.executable, "-m", "localcluster", "tool", "helm"]
    program = subprocess.check_output(helm, cwd=ROOT, text=True).strip()
    command = [program, "template", release, "deploy/chart", f"--namespace={namespace}"]
    text = subprocess.check_output([*command, *(f"--set={value}" for value in values)], cwd=ROOT)
    return [each for each in yaml.safe_load_all(text) if each and each["kind"] in _OF_RIGHTS]


def kubeconfig_of_the_operator(cluster: Kubectl, objects: Iterable[Object], directory: Path) -> str:
    """Creates the account with its rights; returns a kubeconfig of the account in the directory."""
    objects = list(objects)
    (account,) = [each["metadata"] for each in objects if each["kind"] == "ServiceAccount"]
    own = cluster.in_namespace(account["namespace"])
    for each in objects:
        own.in_namespace(each["metadata"].get("namespace", own.namespace)).apply(each)
    token = own("create", "token", account["name"], "--duration=12h").strip()
    config = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    config["users"][0]["user"] = {"token": token}
    file = directory / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))
    return str(file)
