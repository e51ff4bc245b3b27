"""Replicas by queue length, decided by the operator, KEDA or Kubernetes' autoscaler."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from custom_metrics import custom_metrics
from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import have_ready, make_pods_ready
from stand_ins import SCALED_OBJECTS

Object = dict[str, Any]
ADDRESS = "127.77.0.1"  # a loopback address that nothing else uses
SCALING: Object = {"minReplicas": 1, "maxReplicas": 3, "targetQueuedPerReplica": 4}


class Metrics(BaseHTTPRequestHandler):
    """A pod with a cost of 27 in flight: eight requests run, the others wait."""

    def do_GET(self) -> None:
        name = b"diffusion_cost_in_flight"
        body = b"# TYPE %s gauge\n%s 27.0\n" % (name, name)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Keeps the requests out of the test's output."""


@contextmanager
def busy_pod() -> Iterator[None]:
    server = ThreadingHTTPServer((ADDRESS, 8000), Metrics)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def endpoints(count: int) -> Object:
    """EndpointSlice by which the service's address leads to so many pods."""
    labels = {
        "kubernetes.io/service-name": "demo",
        "app.kubernetes.io/managed-by": "diffusion-operator",
    }
    addresses = [f"192.0.2.{number}" for number in range(1, count + 1)]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "played", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
        "ports": [],
    }


def replicas(kubectl: Kubectl) -> int:
    return int(kubectl.get("deployment", "demo")["spec"]["replicas"])


def ready_replicas(kubectl: Kubectl) -> int:
    """Makes every pod Ready, and returns the status's number of ready replicas."""
    make_pods_ready(kubectl)
    return int(kubectl.status("dsvc", "demo").get("readyReplicas", 0))


def test_without_an_autoscaler_the_operator_adds_replicas_for_queued_requests(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service(autoscaling=SCALING))
    (pod,) = kubectl.list("pods", "diffusion.dev/service=demo")
    address = {"status": {"podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]}}
    with busy_pod():
        kubectl.patch("pod", pod["metadata"]["name"], address, "--subresource=status")
        # Kubernetes gives no endpoint to a pod without a node, and no node exists here.
        kubectl.apply(endpoints(3))
        eventually(lambda: replicas(kubectl) == 3, what="three replicas for 27 requests")
        eventually(lambda: ready_replicas(kubectl) == 3, what="three ready replicas")
    assert kubectl.get("dsvc", "demo")["spec"]["replicas"] == 1
    kubectl.patch("dsvc", "demo", {"spec": {"autoscaling": None}})
    eventually(lambda: replicas(kubectl) == 1, what="the spec's own number again")


def test_the_operator_leaves_replicas_to_keda(
    control_plane: Kubectl, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(replicas=2))
    before = eventually(lambda: kubectl.find("deployment", "demo"), what="the Deployment")
    control_plane.apply(SCALED_OBJECTS)
    try:
        control_plane("wait", "--for=condition=Established", "crd", "scaledobjects.keda.sh")
        kubectl.patch("dsvc", "demo", {"spec": {"autoscaling": SCALING}})
        made = eventually(lambda: kubectl.find("scaledobject", "demo"), what="the ScaledObject")
        assert made["spec"]["scaleTargetRef"]["name"] == "demo"
        broken = {"type": "Ready", "status": "False", "reason": "TriggerError", "message": "none"}
        status = {"status": {"conditions": [broken]}}
        kubectl.patch("scaledobject", "demo", status, "--subresource=status")
        eventually(
            lambda: (
                condition(kubectl.get("dsvc", "demo"), "ScalingActive").get("status") == "False"
            ),
            what="the dead autoscaler in the status",
        )
        assert replicas(kubectl) == 2
        kubectl.scale("deployment", "demo", 3)
        kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
        template = before["spec"]["template"]
        eventually(
            lambda: kubectl.get("deployment", "demo")["spec"]["template"] != template,
            what="the change",
        )
        assert replicas(kubectl) == 3
        kubectl.patch("dsvc", "demo", {"spec": {"autoscaling": None}})
        eventually(lambda: not kubectl.find("scaledobject", "demo"), what="the ScaledObject to go")
        eventually(lambda: replicas(kubectl) == 2, what="the spec's own number again")
    finally:
        control_plane("delete", "crd", "scaledobjects.keda.sh")


def test_where_a_custom_metrics_api_is_kubernetes_own_autoscaler_decides(
    control_plane: Kubectl, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service())
    (pod,) = kubectl.list("pods", "diffusion.dev/service=demo")
    with custom_metrics(control_plane, {pod["metadata"]["name"]: 27}):
        # The operator discovers APIs every ten seconds, and may have done so just before.
        kubectl.patch("dsvc", "demo", {"spec": {"autoscaling": SCALING}})
        made = eventually(lambda: kubectl.find("hpa", "demo"), within=40, what="the autoscaler")
        assert made["spec"]["scaleTargetRef"]["name"] == "demo"
        eventually(lambda: replicas(kubectl) == 3, within=90, what="three replicas for 27")
        eventually(lambda: ready_replicas(kubectl) == 3, what="three ready replicas")
        kubectl.patch("dsvc", "demo", {"spec": {"suspend": True}})
        eventually(lambda: replicas(kubectl) == 0, what="no replica while it is suspended")
        kubectl.patch("dsvc", "demo", {"spec": {"suspend": False}})
        # The autoscaler leaves a Deployment of no replicas alone.
        eventually(lambda: replicas(kubectl) > 0, what="a replica to go on from")
        kubectl.patch("dsvc", "demo", {"spec": {"autoscaling": None}})
        eventually(lambda: not kubectl.find("hpa", "demo"), what="the autoscaler to go")
        eventually(lambda: replicas(kubectl) == 1, what="the spec's own number again")
