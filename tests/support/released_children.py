"""The children that this operator makes for a few services, stored to test later upgrades.

    PYTHONPATH=operator:tests/support .venv/bin/python -m released_children 0.1.0 \
        > tests/operator/released/0.1.0.yaml

The settings and images are those of the tests' operator; the uids are placeholders. The namespace
is always the same, since a revision may depend on it: the pods of a Ray cluster name it.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.children import optional_children
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.diffusionservice.specs.service import service
from diffusion_operator.kube.metadata import digest
from diffusion_operator.kube.objects import DIGEST_ANNOTATION
from diffusion_operator.kube.service_account import service_account
from diffusion_operator.settings import Settings
from manifests import diffusion_service
from operator_process import SETTINGS

Object = dict[str, Any]
NAMESPACE = "released"
PROBE = "spec.containers[server].livenessProbe"
FOLDER = Path(__file__).parents[1] / "operator" / "released"
FIRST = (
    diffusion_service("minimal"),
    diffusion_service(
        "large",
        backend="litserve",
        replicas=2,
        gpu={"type": "t4"},
        model={
            "source": "hf://stabilityai/stable-diffusion-xl-base-1.0",
            "revision": "main",
            "tokenSecretRef": {"name": "hub", "key": "token"},
            "cache": {"size": "20Gi"},
        },
        auth={"apiKeySecretRef": {"name": "keys", "key": "keys"}},
        podTemplate={"metadata": {"annotations": {"team": "design"}}},
    ),
)
# For the first two services main makes what 0.1.0 made; these have fields that came later.
SECOND = (
    diffusion_service(
        "ray",
        backend="rayserve",
        image="registry.example/ray:1",
        gpu={"type": "standin", "count": 2},
        batching={"mode": "framework", "maxSize": 4, "maxWaitMilliseconds": 10},
        queue={"maxLength": 32, "timeout": "30s"},
        rollout={"onFailure": "Hold", "surgeTimeout": "5m"},
    ),
    diffusion_service(
        "tuned",
        model={
            "source": "s3://models/sd",
            "credentialsSecretRef": {"name": "bucket"},
            "loras": [{"name": "ink", "source": "s3://models/ink", "scale": "0.8"}],
            "cache": {"claimName": "models"},
        },
        generation={"steps": 8, "guidanceScale": "6.5", "width": 512, "height": 512},
        limits={"maxSteps": 50, "maxImagesPerRequest": 2},
        route={"host": "tuned.example.com", "ingressClassName": "nginx"},
        podTemplate={"spec": {"priorityClassName": "system-node-critical"}, "remove": [PROBE]},
    ),
)
RELEASES = {"0.1.0": FIRST, "0.2.0-alpha": SECOND}
"""Services of each kept release, all of other names."""
HEADER = """\
# The children that diffusion-operator {version} makes for two services.
# tests/operator/test_upgrade.py upgrades from them. The command that wrote this file:
#   PYTHONPATH=operator:tests/support .venv/bin/python -m released_children {version} \\
#     > tests/operator/released/{version}.yaml
"""


def placeholder(name: str) -> str:
    """The placeholder for the uid of the service of that name."""
    return f"uid-of-{name}"


def with_digest(child: Object) -> Object:
    """The child with the operator's annotation for the digest of its content."""
    metadata = child["metadata"]
    annotations = {k: v for k, v in metadata["annotations"].items() if k != DIGEST_ANNOTATION}
    content = {**metadata, "annotations": annotations}
    if not annotations:
        del content["annotations"]
    own = {DIGEST_ANNOTATION: digest({**child, "metadata": content})}
    return {**child, "metadata": {**metadata, "annotations": {**annotations, **own}}}


def children(manifest: Object, settings: Settings) -> list[Object]:
    """The service's children, in an order in which they can be created."""
    name = manifest["metadata"]["name"]
    metadata = {**manifest["metadata"], "namespace": NAMESPACE, "uid": placeholder(name)}
    owner = {**manifest, "metadata": metadata}
    spec = DiffusionServiceSpec.model_validate(manifest["spec"])
    return [
        service_account(owner, name, spec.service_account.annotations),
        deployment(owner, spec, settings),
        service(owner, spec),
        *optional_children(owner, spec, settings),
    ]


class _Whole(yaml.SafeDumper):
    """Writes repeated values in full, without YAML's aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the same for any data
        return True


def main() -> None:
    (version,) = sys.argv[1:]
    settings = Settings.model_validate(SETTINGS)
    documents = [made for each in RELEASES[version] for made in (each, *children(each, settings))]
    sys.stdout.write(HEADER.format(version=version))
    yaml.dump_all(documents, sys.stdout, _Whole, sort_keys=False, width=120)


if __name__ == "__main__":
    main()
