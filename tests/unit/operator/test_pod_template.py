"""``spec.podTemplate``: the merge equals kubectl's merge of the same template and patch."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.deployment import deployment, revision_of
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.kube.strategic_merge import strategic_merge
from diffusion_operator.settings import Settings

Object = dict[str, Any]
ROOT = Path(__file__).parents[3]
PATCHES: list[Object] = [
    {"metadata": {"annotations": {"mesh": "on"}, "labels": {"team": "vision"}}},
    {"spec": {"containers": [{"name": "proxy", "image": "mesh:1"}]}},
    {"spec": {"containers": [{"name": "proxy", "image": "mesh:1"},
                             {"name": "server", "env": [{"name": "A", "value": "1"}]}]}},
    {"spec": {"containers": [{"name": "server",
                              "env": [{"name": "DIFFUSION_SERVICE", "value": "x"}],
                              "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                              "ports": [{"containerPort": 9000}],
                              "command": ["run"],
                              "resources": {"limits": {"cpu": "2"}}}],
              "volumes": [{"name": "v", "configMap": {"name": "v"}}]}},
    {"spec": {"containers": [{"name": "server", "env": [
        {"name": "DIFFUSION_SERVICE", "$patch": "delete"}]}]}},
    {"spec": {"containers": [{"name": "server", "env": [
        {"name": "ONLY", "value": "this"}, {"$patch": "replace"}]}]}},
    {"spec": {"volumes": [{"name": "tmp", "$retainKeys": ["name", "hostPath"],
                           "hostPath": {"path": "/fast"}}]}},
    {"spec": {"securityContext": {"$patch": "replace", "runAsUser": 5}}},
    {"spec": {"securityContext": {"fsGroup": None}, "terminationGracePeriodSeconds": None}},
    {"spec": {"priorityClassName": "high", "tolerations": [{"operator": "Exists"}],
              "imagePullSecrets": [{"name": "pull"}],
              "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["hub"]}],
              "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "l4"}],
              "topologySpreadConstraints": [
                  {"topologyKey": "kubernetes.io/hostname", "maxSkew": 2}],
              "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                  "nodeSelectorTerms": [{"matchExpressions": [
                      {"key": "disk", "operator": "In", "values": ["ssd"]}]}]}}}}},
    {"spec": {"initContainers": [{"name": "first", "image": "busy:1", "args": ["x"]}]}},
]  # fmt: skip


@pytest.fixture(scope="module")
def kubectl() -> str:
    command = [sys.executable, "-m", "localcluster", "tool", "kubectl"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


@pytest.fixture
def template(service: Object, settings: Settings) -> Object:
    spec = DiffusionServiceSpec.model_validate(
        {**service["spec"], "gpu": {"type": "nvidia-l4"}, "model": {"source": "pvc://weights/sd"}}
    )
    built: Object = deployment(service, spec, settings)["spec"]["template"]
    return built


def patched_by(kubectl: str, directory: Path, template: Object, patch: Object) -> Object:
    """The template of a Deployment as kubectl patches it."""
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "demo"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    file = directory / "deployment.json"
    file.write_text(json.dumps(deployment))
    text = json.dumps({"spec": {"template": patch}})
    command = [
        kubectl,
        "patch",
        "--local",
        "--type=strategic",
        "-o=json",
        "-f",
        str(file),
        "-p",
        text,
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    patched: Object = json.loads(done.stdout)["spec"]["template"]
    return patched


def without_empty(value: Any) -> Any:
    """The value without the empty fields that kubectl's types print."""
    if isinstance(value, dict):
        parts = {name: without_empty(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part not in ({}, None)}
    return [without_empty(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: json.dumps(patch)[:60])
def test_a_template_is_merged_as_kubectl_would(
    kubectl: str, tmp_path: Path, template: Object, patch: Object
) -> None:
    before = copy.deepcopy(template)
    merged = strategic_merge(template, patch)
    assert template == before
    assert without_empty(merged) == without_empty(patched_by(kubectl, tmp_path, template, patch))


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"metadata": {"labels": {"diffusion.dev/service": "x"}}}, "labels of the pods' selector"),
        ({"metadata": {"labels": None}}, "labels of the pods' selector"),
        ({"spec": {"containers": [{"name": "server", "$patch": "delete"}]}}, "removes container"),
        (
            {"spec": {"containers": [{"name": "server", "ports": [{"$patch": "replace"}]}]}},
            "must keep its port 8000 named http",
        ),
        ({"spec": {"containers": [{"name": "x", "env": [{"value": "1"}]}]}}, "has no name"),
        ({"spec": {"$patch": "remove"}}, "write merge, replace or delete"),
        ({"spec": {"$setElementOrder/volumes": []}}, "not supported"),
    ],
)
def test_a_patch_that_would_cut_the_pods_off_is_refused(
    service: Object, settings: Settings, patch: Object, message: str
) -> None:
    spec = DiffusionServiceSpec.model_validate({**service["spec"], "podTemplate": patch})
    with pytest.raises(SpecError, match=message) as refused:
        deployment(service, spec, settings)
    assert refused.value.reason == "InvalidPodTemplate"


def test_a_changed_template_is_a_new_revision(service: Object, settings: Settings) -> None:
    def revision(**spec: Any) -> str:
        read = DiffusionServiceSpec.model_validate({**service["spec"], **spec})
        return revision_of(deployment(service, read, settings))

    changed = revision(podTemplate={"metadata": {"annotations": {"a": "b"}}})
    assert len({revision(), changed, revision(podTemplate={"spec": {"hostUsers": False}})}) == 3
