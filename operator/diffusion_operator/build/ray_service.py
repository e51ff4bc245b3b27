"""RayService: KubeRay makes the pods of the Ray cluster, and a second one beside it to take over.

Its pods run the same program as those of our own cluster, which starts Ray and tells Serve what to
run (docs/adr/0022): so they answer as those do, with KubeRay's operator away, too.
"""

import json
from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build import BuildError
from diffusion_operator.build.accelerator import accelerator_of
from diffusion_operator.build.deployment import ready_within, template_of
from diffusion_operator.build.metadata import child
from diffusion_operator.build.pod import serving_pod
from diffusion_operator.build.ray_cluster import (
    GCS_PORT,
    head_pod,
    head_template,
    role_variables,
    with_variables,
)
from diffusion_operator.build.server import CONTAINER, PORT
from diffusion_operator.objects import REVISION_LABEL, Object
from diffusion_operator.settings import Settings

API_VERSION = "ray.io/v1"
# KubeRay adds to the name, and refuses in an Event alone what then gets too long.
LONGEST_NAME = 47
# KubeRay wants to know whether this Ray has tokens.
RAY_VERSION = "2.60.0"
DASHBOARD_PORT = 8265
# KubeRay waits until all of this runs. The program has declared the same itself by then.
_PLACE = "diffusion_serving.backends.rayserve.deployment"
SERVE_CONFIG = json.dumps(
    {
        "proxy_location": "HeadOnly",
        "applications": [
            {
                "name": "diffusion",
                "route_prefix": "/",
                "import_path": f"{_PLACE}:declared_replicas",
            },
            {"name": "head", "route_prefix": "/healthz", "import_path": f"{_PLACE}:declared_head"},
        ],
    }
)
# The program starts Ray itself, by its image's own command.
_OWN_COMMAND = {"ray.io/overwrite-container-cmd": "true"}
# KubeRay's operator asks the head what Serve does; the token keeps others out.
KUBERAY_LOOKS: Object = {
    "from": [
        {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}},
        }
    ],
    "ports": [{"port": port, "protocol": "TCP"} for port in (DASHBOARD_PORT, PORT)],
}


def ray_service(owner: Mapping[str, Any], spec: DiffusionServiceSpec, settings: Settings) -> Object:
    """The RayService. Raises ``BuildError``."""
    name = owner["metadata"]["name"]
    if len(name) > LONGEST_NAME:
        raise BuildError(
            "NameTooLong",
            f"KubeRay makes the cluster of rayserve.topology: cluster here, and takes names of at "
            f"most {LONGEST_NAME} characters: give the DiffusionService a shorter name",
        )
    pod = serving_pod(owner, spec, settings, accelerator_of(spec, settings))
    workers = _server_first(template_of(owner, spec, with_variables(pod, role_variables("worker"))))
    return child(
        owner,
        API_VERSION,
        "RayService",
        name,
        annotations=_OWN_COMMAND,
        spec={
            "serveConfigV2": SERVE_CONFIG,
            # KubeRay's own Service, by which it counts who serves. Ours is the way in.
            "serveService": {"spec": {"ports": [{"name": "serve", "port": PORT}]}},
            "rayClusterConfig": {
                "rayVersion": RAY_VERSION,
                # Whoever may talk to Ray's own ports may run code in the cluster.
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "rayStartParams": {"block": "true"},
                    "template": _head(
                        owner,
                        head_pod(pod, ready_within(spec)),
                        workers["metadata"]["labels"][REVISION_LABEL],
                    ),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": spec.replicas,
                        "minReplicas": spec.replicas,
                        "maxReplicas": spec.replicas,
                        "rayStartParams": {"block": "true"},
                        "template": workers,
                    }
                ],
            },
        },
    )


def _head(owner: Mapping[str, Any], pod: Mapping[str, Any], revision: str) -> Object:
    dashboard = {"name": "DIFFUSION_RAY_DASHBOARD", "value": str(DASHBOARD_PORT)}
    head = with_variables(pod, [*role_variables("head"), dashboard])
    (server,) = head["containers"]
    ports = [
        *server["ports"],
        {"name": "gcs-server", "containerPort": GCS_PORT, "protocol": "TCP"},
        {"name": "dashboard", "containerPort": DASHBOARD_PORT, "protocol": "TCP"},
    ]
    return head_template(owner, revision, {**head, "containers": [{**server, "ports": ports}]})


def _server_first(template: Mapping[str, Any]) -> Object:
    """The pod template with the server where KubeRay looks for it."""
    containers = sorted(
        template["spec"]["containers"], key=lambda found: bool(found["name"] != CONTAINER)
    )
    return {**template, "spec": {**template["spec"], "containers": containers}}


def workers_of(found: Mapping[str, Any]) -> Object:
    """The group of workers of a built or live RayService."""
    group: Object = found["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    return group
