"""What the end-to-end tests do to a cluster and wait for in it."""

import base64
import json
from typing import Any

import httpx

from install import Installed
from kubectl import Kubectl, condition, eventually

STARTED_WITHIN = 300.0

Object = dict[str, Any]


class OperatorPod:
    """The operator as it runs in the cluster."""

    def __init__(self, cluster: Kubectl, installed: Installed) -> None:
        self._kubectl = cluster.in_namespace(installed.namespace)
        self._deployment = f"deployment/{installed.release}"

    def kill(self) -> None:
        """Delete its pod without grace, as when its node is lost."""
        selector = "app.kubernetes.io/name=diffusion-operator"
        self._kubectl("delete", "pods", "-l", selector, "--grace-period=0", "--force")

    def stop(self) -> None:
        self._kubectl("scale", self._deployment, "--replicas=0")
        self._kubectl("wait", "--for=delete", "pods", "-l",
                      "app.kubernetes.io/name=diffusion-operator", "--timeout=60s")  # fmt: skip

    def start(self) -> None:
        self._kubectl("scale", self._deployment, "--replicas=1")
        self._kubectl("rollout", "status", self._deployment, "--timeout=120s")

    def log(self) -> str:
        return self._kubectl("logs", self._deployment)


def wait_until_ready(kubectl: Kubectl, name: str = "demo") -> None:
    """As a user would."""
    try:
        kubectl(
            "wait",
            "--for=condition=Ready",
            f"dsvc/{name}",
            f"--timeout={STARTED_WITHIN:.0f}s",
            timeout=STARTED_WITHIN + 10,
        )
    except Exception as error:
        raise AssertionError(json.dumps(kubectl.get("dsvc", name), indent=1)) from error


def finished(kubectl: Kubectl, name: str, within: float = 240) -> Object:
    """The LoadTest's status once it has ended."""

    def over() -> Object | None:
        status = kubectl.status("lt", name)
        return status if status.get("state") in {"Complete", "Failed"} else None

    return eventually(over, within=within, every=0.5, what=f"{name} to end")


def requests_so_far(kubectl: Kubectl, name: str) -> int:
    """How many requests of a running LoadTest have ended."""
    status = kubectl.status("lt", name)
    return int((status.get("progress") or {}).get("requests", 0))


def picture(answer: httpx.Response) -> bytes:
    """The first picture of an answer of /predict."""
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["images"][0])


def ready_reason(kubectl: Kubectl, name: str = "demo") -> str:
    return str(condition(kubectl.get("dsvc", name), "Ready").get("reason", ""))
