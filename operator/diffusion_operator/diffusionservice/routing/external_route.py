"""External route: an Ingress or an HTTPRoute, and the URL that it gives a service."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.route import Route
from diffusion_operator.diffusionservice.specs.http_route import http_route
from diffusion_operator.diffusionservice.specs.ingress import ingress
from diffusion_operator.kube.objects import Object


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
