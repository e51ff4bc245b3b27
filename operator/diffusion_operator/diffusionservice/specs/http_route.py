"""HTTPRoute: a Gateway's listener leads to the Service."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.fields import seconds
from diffusion_operator.api.route import GatewayRef, Route
from diffusion_operator.diffusionservice.specs.service import PORT
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object


def http_route(owner: Mapping[str, Any], spec: Route, gateway: GatewayRef) -> Object:
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
    # The Gateway API has durations of one form: whole milliseconds fit each.
    limit = {"request": f"{round(seconds(spec.timeout) * 1000)}ms"} if spec.timeout else {}
    timeouts = {"timeouts": limit} if limit else {}
    return child(
        owner,
        "HTTPRoute",
        name,
        annotations=spec.annotations,
        spec={
            "parentRefs": [parent],
            "hostnames": [spec.host],
            "rules": [{"matches": [match], "backendRefs": [backend], **timeouts}],
        },
    )
