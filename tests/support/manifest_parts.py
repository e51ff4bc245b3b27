"""Manifests of a DiffusionService, and the parts of them that tests read."""

import json
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.settings import Settings

Object = dict[str, Any]


def build(service: Object, settings: Settings, **changes: Any) -> Object:
    spec = DiffusionServiceSpec.model_validate({**service["spec"], **changes})
    return deployment(service, spec, settings)


def spec_of(service: Object, **changes: Any) -> DiffusionServiceSpec:
    return DiffusionServiceSpec.model_validate({**service["spec"], **changes})


def pod_of(manifest: Object) -> Object:
    pod: Object = manifest["spec"]["template"]["spec"]
    return pod


def config_of(manifest: Object) -> Object:
    env = {item["name"]: item.get("value") for item in pod_of(manifest)["containers"][0]["env"]}
    config: Object = json.loads(env["DIFFUSION_SERVING_CONFIG"] or "")
    return config
