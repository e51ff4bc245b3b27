"""External route: an Ingress or an HTTPRoute, and the URL that it gives a service."""

from collections.abc import Iterable, Mapping
from typing import Any

from diffusion_operator.api.route import Route
from diffusion_operator.diffusionservice.specs.http_route import http_route
from diffusion_operator.diffusionservice.specs.ingress import ingress
from diffusion_operator.kube.conditions import Status, Verdict, condition_of
from diffusion_operator.kube.objects import Key, Object


def route(owner: Mapping[str, Any], spec: Route) -> Object:
    """Route of the spec: an HTTPRoute for a Gateway, else an Ingress."""
    if spec.gateway_ref is not None:
        return http_route(owner, spec, spec.gateway_ref)
    return ingress(owner, spec)


def outside_url(spec: Route) -> str:
    """URL of a DiffusionService from outside the cluster."""
    if spec.gateway_ref is not None:
        return f"{spec.gateway_ref.scheme}://{spec.host}"
    return f"{'https' if spec.tls_secret_name else 'http'}://{spec.host}"


def route_key(owner: Mapping[str, Any], spec: Route) -> Key:
    """Key of the route's object."""
    kind = "HTTPRoute" if spec.gateway_ref is not None else "Ingress"
    return Key(kind, owner["metadata"]["namespace"], owner["metadata"]["name"])


def route_verdict(spec: Route, observed: Mapping[str, Any] | None) -> Verdict:
    """RouteAccepted condition: whether a Gateway or an ingress controller leads to the service."""
    status = (observed or {}).get("status") or {}
    if spec.gateway_ref is not None:
        return _by_gateway(spec.gateway_ref.name, status.get("parents") or ())
    addresses = (status.get("loadBalancer") or {}).get("ingress") or ()
    if addresses:
        return _accepted(
            "True", "Accepted", "an ingress controller has given the Ingress an address"
        )
    message = (
        f"no ingress controller has given the Ingress an address yet: is there one of class "
        f"{spec.ingress_class_name}?"
    )
    return _accepted("Unknown", "Pending", message)


def _by_gateway(gateway: str, parents: Iterable[Mapping[str, Any]]) -> Verdict:
    judged = [
        condition
        for parent in parents
        for kind in ("Accepted", "ResolvedRefs")
        if (condition := condition_of({"status": parent}, kind)) is not None
    ]
    refused = next((each for each in judged if each.is_false), None)
    if refused is not None:
        return _accepted("False", refused.reason, f"Gateway {gateway}: {refused.message}")
    if not judged:
        message = f"Gateway {gateway} has not answered: does it exist, and its controller run?"
        return _accepted("Unknown", "Pending", message)
    return _accepted("True", "Accepted", f"Gateway {gateway} accepts the route")


def _accepted(status: Status, reason: str, message: str) -> Verdict:
    return Verdict("RouteAccepted", status, reason or "Pending", message)
