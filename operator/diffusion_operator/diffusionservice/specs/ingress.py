"""Ingress: an ingress controller leads to the Service."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.route import Route
from diffusion_operator.diffusionservice.specs.service import PORT
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object


def ingress(owner: Mapping[str, Any], spec: Route) -> Object:
    name = owner["metadata"]["name"]
    backend = {"service": {"name": name, "port": {"number": PORT}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    tls = [{"hosts": [spec.host], "secretName": spec.tls_secret_name}]
    return child(
        owner,
        "Ingress",
        name,
        annotations=spec.annotations,
        spec={
            "ingressClassName": spec.ingress_class_name,
            "rules": [{"host": spec.host, "http": {"paths": [path]}}],
            **({"tls": tls} if spec.tls_secret_name else {}),
        },
    )
