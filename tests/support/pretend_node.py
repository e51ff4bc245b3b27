"""A node without a machine: the real scheduler places pods on the node, and nothing runs them."""

import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from kubectl import Kubectl, KubectlError

NAME = "pretend"
LEASE_SECONDS = 40
Object = dict[str, Any]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class PretendNode:
    """Registers the node and renews its lease, as a kubelet would, until ``close``."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl.in_namespace("kube-node-lease")
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._register()
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _register(self) -> None:
        capacity = {"cpu": "1000", "memory": "1000Gi", "pods": "5000"}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Pretended",
            "message": "no kubelet",
            "lastHeartbeatTime": _now().partition(".")[0] + "Z",
            "lastTransitionTime": _now().partition(".")[0] + "Z",
        }
        self._lease()
        self._kubectl.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}})
        status = {"capacity": capacity, "allocatable": capacity, "conditions": [ready]}
        self._kubectl.patch("node", NAME, {"status": status}, "--subresource=status")

    def _lease(self) -> None:
        lease: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME},
            "spec": {
                "holderIdentity": NAME,
                "leaseDurationSeconds": LEASE_SECONDS,
                "renewTime": _now(),
            },
        }
        self._kubectl.apply(lease)

    def _renew(self) -> None:
        while not self._closed.wait(LEASE_SECONDS / 4):
            with suppress(KubectlError):  # a test may stop the API server for a moment
                self._lease()
