"""RayService: KubeRay makes the pods, and a second Ray cluster for each change.

Its pods run the image's own program, which starts Ray and deploys to Serve (docs/adr/0022), so they
answer without KubeRay's operator, too.
"""

import json
from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.accelerator import accelerator_of
from diffusion_operator.diffusionservice.specs.deployment import patch_of, ready_within, template_of
from diffusion_operator.diffusionservice.specs.pod import serving_pod
from diffusion_operator.diffusionservice.specs.ray_cluster import (
    GCS_PORT,
    head_pod,
    head_template,
    role_variables,
    with_head_template,
    with_variables,
)
from diffusion_operator.diffusionservice.specs.server_container import CONTAINER, PORT
from diffusion_operator.kube.metadata import changed, child
from diffusion_operator.kube.objects import REVISION_LABEL, SPEC_ANNOTATION, Object, labels_of
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.settings import Settings

API_VERSION = "ray.io/v1"
# KubeRay appends to the name and reports a name that is too long in an Event only.
LONGEST_NAME = 47
# KubeRay derives token support from the Ray version.
RAY_VERSION = "2.60.0"
DASHBOARD_PORT = 8265
# Fields of a group of workers that hold one number: KubeRay's autoscaler is not used.
REPLICA_FIELDS = ("replicas", "minReplicas", "maxReplicas")
# KubeRay waits for these applications, which the program has deployed itself by then.
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
# The image's command starts Ray itself.
_OWN_COMMAND = {"ray.io/overwrite-container-cmd": "true"}
# KubeRay's operator polls Serve on the head; the token protects it.
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
    """RayService of a DiffusionService.

    Raises:
        SpecError: KubeRay can't make what the spec says.
    """
    name = owner["metadata"]["name"]
    if len(name) > LONGEST_NAME:
        raise SpecError(
            "NameTooLong",
            f"KubeRay makes the cluster of rayserve.topology: cluster here, and takes names of at "
            f"most {LONGEST_NAME} characters: give the DiffusionService a shorter name",
        )
    pod = serving_pod(owner, spec, settings, accelerator_of(spec, settings))
    workers = _server_first(
        template_of(owner, spec, settings, with_variables(pod, role_variables("worker")))
    )
    return child(
        owner,
        "RayService",
        name,
        annotations=_OWN_COMMAND,
        spec={
            "serveConfigV2": SERVE_CONFIG,
            # KubeRay checks its own Service; clients use the DiffusionService's.
            "serveService": {"spec": {"ports": [{"name": "serve", "port": PORT}]}},
            "rayClusterConfig": {
                "rayVersion": RAY_VERSION,
                # Access to Ray's own ports allows code execution in the cluster.
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "rayStartParams": {"block": "true"},
                    "template": with_head_template(
                        _head(
                            owner,
                            head_pod(pod, ready_within(spec)),
                            workers["metadata"]["labels"][REVISION_LABEL],
                        ),
                        settings.pod_defaults,
                        patch_of(spec),
                    ),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        **dict.fromkeys(REPLICA_FIELDS, spec.replicas),
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
    """Pod template with the server first, where KubeRay looks for it."""
    containers = sorted(
        template["spec"]["containers"], key=lambda each: bool(each["name"] != CONTAINER)
    )
    return {**template, "spec": {**template["spec"], "containers": containers}}


def workers_of(ray_service: Mapping[str, Any]) -> Object:
    """Worker group of a built or live RayService."""
    group: Object = ray_service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    return group


def workers_revision(ray_service: Mapping[str, Any]) -> str:
    """Revision of the workers of a built or live RayService."""
    return labels_of(workers_of(ray_service)["template"]).get(REVISION_LABEL, "")


def kept_ray_service(built: Object, observed: Mapping[str, Any]) -> Object:
    """Copy of the RayService with the live pods and the mark of their spec; replicas stay built."""
    config = observed["spec"]["rayClusterConfig"]
    replicas = dict.fromkeys(REPLICA_FIELDS, workers_of(built)["replicas"])
    groups = [{**group, **replicas} for group in config["workerGroupSpecs"]]
    mark = {SPEC_ANNOTATION: (observed["metadata"].get("annotations") or {}).get(SPEC_ANNOTATION)}
    spec = {**observed["spec"], "rayClusterConfig": {**config, "workerGroupSpecs": groups}}
    return changed(built, mark, spec=spec)
