"""Access to a DiffusionService from outside the cluster: Ingress and HTTPRoute."""

from typing import Any

from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import children
from stand_ins import HTTP_ROUTES

Object = dict[str, Any]
GATEWAY: Object = {"host": "a.test", "gatewayRef": {"name": "web"}}
INGRESS: Object = {"host": "a.test", "ingressClassName": "nginx", "tlsSecretName": "cert"}


def test_an_ingress_comes_and_goes_with_the_route_and_the_url_follows(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(route=INGRESS))
    eventually(lambda: kubectl.find("ingress", "demo"), what="the Ingress")
    eventually(
        lambda: kubectl.status("dsvc", "demo").get("url") == "https://a.test", what="the address"
    )
    kubectl.apply(diffusion_service())
    eventually(lambda: not kubectl.find("ingress", "demo"), what="the Ingress to go")
    inside = f"http://demo.{kubectl.namespace}.svc"
    eventually(lambda: kubectl.status("dsvc", "demo").get("url") == inside, what="the old address")


def test_an_http_route_is_made_once_the_cluster_knows_the_gateway_api(
    control_plane: Kubectl, kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(route=GATEWAY))
    eventually(lambda: children(kubectl), what="the other children")

    def reason() -> str:
        return str(condition(kubectl.get("dsvc", "demo"), "Ready").get("reason", ""))

    eventually(lambda: reason() == "KindNotInstalled", what="the missing kind in the status")
    control_plane.apply(HTTP_ROUTES)
    try:
        control_plane("wait", "--for=condition=Established", "crd", HTTP_ROUTES["metadata"]["name"])
        kubectl.patch("dsvc", "demo", {"metadata": {"labels": {"look": "again"}}})
        made = eventually(lambda: kubectl.find("httproute", "demo"), what="the HTTPRoute")
        assert made["spec"]["hostnames"] == ["a.test"]
        eventually(lambda: reason() == "RollingOut", what="the recovery")
        kubectl.apply(diffusion_service())
    finally:
        control_plane("delete", "crd", HTTP_ROUTES["metadata"]["name"])
