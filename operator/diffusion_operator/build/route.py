"""Ingress or HTTPRoute: the way in from outside the cluster."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import GatewayRef, Route
from diffusion_operator.build.metadata import child
from diffusion_operator.build.service import PORT
from diffusion_operator.objects import Object


def route(owner: Mapping[str, Any], spec: Route) -> Object:
    """The one that the spec asks for."""
    if spec.gateway_ref is not None:
        return _http_route(owner, spec, spec.gateway_ref)
    return _ingress(owner, spec)


def outside_url(spec: Route) -> str:
    """Where a DiffusionService answers from outside the cluster."""
    if spec.gateway_ref is not None:
        return f"{spec.gateway_ref.scheme}://{spec.host}"
    return f"{'https' if spec.tls_secret_name else 'http'}://{spec.host}"


def _http_route(owner: Mapping[str, Any], spec: Route, gateway: GatewayRef) -> Object:
    parent = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": gateway.name,
        **({"namespace": gateway.namespace} if gateway.namespace else {}),
        **({"sectionName": gateway.section_name} if gateway.section_name else {}),
    }
    name = owner["metadata"]["name"]
    backend = {"group": "", "kind": "Service", "name": name, "port": PORT, "weight": 1}
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    return child(
        owner,
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        name,
        spec={
            "parentRefs": [parent],
            "hostnames": [spec.host],
            "rules": [{"matches": [match], "backendRefs": [backend]}],
        },
    )


def _ingress(owner: Mapping[str, Any], spec: Route) -> Object:
    name = owner["metadata"]["name"]
    backend = {"service": {"name": name, "port": {"number": PORT}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    tls = [{"hosts": [spec.host], "secretName": spec.tls_secret_name}]
    return child(
        owner,
        "networking.k8s.io/v1",
        "Ingress",
        name,
        spec={
            "ingressClassName": spec.ingress_class_name,
            "rules": [{"host": spec.host, "http": {"paths": [path]}}],
            **({"tls": tls} if spec.tls_secret_name else {}),
        },
    )
