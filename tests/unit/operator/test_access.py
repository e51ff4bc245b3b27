"""Routes to a service, and the network policy that admits clients."""

from typing import Any

import pytest

from diffusion_operator.api.route import Route
from diffusion_operator.diffusionservice.routing.external_route import (
    outside_url,
    route,
    route_verdict,
)
from diffusion_operator.diffusionservice.specs.network_policy import network_policy
from diffusion_operator.kube.client import NotFoundError
from diffusion_operator.kube.problems import refusal
from diffusion_operator.settings import NetworkPolicySettings

Object = dict[str, Any]


def test_an_ingress_leads_to_the_service_with_the_certificate_named(service: Object) -> None:
    spec = Route(host="a.test", ingress_class_name="nginx", tls_secret_name="cert")
    made = route(service, spec)
    assert made["kind"] == "Ingress"
    assert made["spec"]["tls"] == [{"hosts": ["a.test"], "secretName": "cert"}]
    (path,) = made["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "demo", "port": {"number": 80}}
    assert outside_url(spec) == "https://a.test"


def test_an_ingress_without_a_certificate_is_plain_http(service: Object) -> None:
    spec = Route(host="a.test", ingress_class_name="nginx")
    assert "tls" not in route(service, spec)["spec"]
    assert outside_url(spec) == "http://a.test"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_http_route_is_a_child_of_the_gateways_listener(service: Object, scheme: str) -> None:
    gateway = {"name": "web", "namespace": "infra", "sectionName": "tls", "scheme": scheme}
    spec = Route.model_validate({"host": "a.test", "gatewayRef": gateway})
    made = route(service, spec)
    assert made["kind"] == "HTTPRoute"
    (parent,) = made["spec"]["parentRefs"]
    assert (parent["name"], parent["namespace"], parent["sectionName"]) == ("web", "infra", "tls")
    assert made["spec"]["rules"][0]["backendRefs"][0]["name"] == "demo"
    assert outside_url(spec) == f"{scheme}://a.test"


def test_a_route_has_the_annotations_of_its_controller_and_a_gateways_timeout(
    service: Object,
) -> None:
    annotations = {"nginx.ingress.kubernetes.io/proxy-read-timeout": "600"}
    entry = Route(host="a.test", ingress_class_name="nginx", annotations=annotations)
    assert annotations.items() <= route(service, entry)["metadata"]["annotations"].items()
    spec = Route.model_validate(
        {
            "host": "a.test",
            "gatewayRef": {"name": "web"},
            "timeout": "2m",
            "annotations": {"a": "b"},
        }
    )
    made = route(service, spec)
    assert made["spec"]["rules"][0]["timeouts"] == {"request": "120000ms"}
    assert made["metadata"]["annotations"]["a"] == "b"


GATEWAY = Route.model_validate({"host": "a.test", "gatewayRef": {"name": "web"}})
INGRESS = Route(host="a.test", ingress_class_name="nginx")


def answered(*conditions: Object) -> Object:
    return {"status": {"parents": [{"conditions": list(conditions)}]}}


ACCEPTED = {"type": "Accepted", "status": "True", "reason": "Accepted"}
NO_BACKEND = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"}


@pytest.mark.parametrize(
    ("spec", "observed", "verdict"),
    [
        (GATEWAY, None, ("Unknown", "Pending")),
        (GATEWAY, answered(ACCEPTED), ("True", "Accepted")),
        (GATEWAY, answered(ACCEPTED, NO_BACKEND), ("False", "BackendNotFound")),
        (INGRESS, {"status": {"loadBalancer": {}}}, ("Unknown", "Pending")),
        (INGRESS, {"status": {"loadBalancer": {"ingress": [{"ip": "::1"}]}}}, ("True", "Accepted")),
    ],
    ids=["unheard", "accepted", "no backend", "no controller", "address"],
)
def test_the_status_says_whether_the_route_is_accepted(
    spec: Route, observed: Object | None, verdict: tuple[str, str]
) -> None:
    made = route_verdict(spec, observed)
    assert (made.type, made.status, made.reason) == ("RouteAccepted", *verdict)


def test_a_policy_admits_its_peers_and_load_tests_to_the_server_alone(service: Object) -> None:
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mon"}}}
    policy = network_policy(service, NetworkPolicySettings(admit=(prometheus,)))["spec"]
    others, own = policy["ingress"]
    assert others["ports"] == [{"port": 8000, "protocol": "TCP"}]
    assert prometheus in others["from"]
    (runners,) = (peer for peer in others["from"] if "podSelector" in peer)
    assert runners["podSelector"]["matchExpressions"][0]["key"] == "diffusion.dev/loadtest"
    assert own == {"from": [{"podSelector": policy["podSelector"]}]}
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "demo"


def not_found(body: str, group: str) -> NotFoundError:
    return NotFoundError(404, "Not Found", body, None, f"/apis/{group}/v1/namespaces/shop/x/demo")


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        ("gateway.networking.k8s.io", "the Gateway API"),
        ("keda.sh", "KEDA"),
        ("other.test", "other.test"),
    ],
)
def test_a_kind_that_is_not_installed_is_named_in_the_message(group: str, sentence: str) -> None:
    problem = refusal(not_found("404 page not found", group))
    assert problem.reason == "KindNotInstalled"
    assert sentence in problem.message
    assert ("Gateway" in problem.message) == ("gateway" in group)


def test_a_request_for_a_missing_object_is_tried_again() -> None:
    with pytest.raises(NotFoundError):
        refusal(not_found('{"message": "namespaces \\"gone\\" not found"}', "keda.sh"))
