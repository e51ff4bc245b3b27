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


NODE_TERMS = "requiredDuringSchedulingIgnoredDuringExecution"
SSD = {"key": "disk", "operator": "In", "values": ["ssd"]}
L4 = {"key": "cloud.google.com/gke-accelerator", "operator": "In", "values": ["nvidia-l4"]}
ALSO_L4 = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]}


def on_nodes(*terms: Any) -> Object:
    return {"nodeAffinity": {NODE_TERMS: {"nodeSelectorTerms": list(terms)}}}


def pod_of(service: Object, settings: Settings, **spec: Any) -> Object:
    read = DiffusionServiceSpec.model_validate({**service["spec"], **spec})
    pod: Object = deployment(service, read, settings)["spec"]["template"]["spec"]
    return pod


def with_settings(settings: Settings, **changed: Any) -> Settings:
    return Settings.model_validate({**settings.model_dump(by_alias=True), **changed})


@pytest.fixture
def two_clouds(settings: Settings) -> Settings:
    labels = [{each["key"]: each["values"][0]} for each in (L4, ALSO_L4)]
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists"}
    entry = {"resourceName": "nvidia.com/gpu", "nodeLabels": labels, "tolerations": [toleration]}
    return with_settings(settings, accelerators={"nvidia-l4": entry})


def test_the_accelerators_placement_holds_beside_the_authors(
    service: Object, two_clouds: Settings
) -> None:
    wishes = {
        "affinity": on_nodes({"matchExpressions": [SSD]}),
        "tolerations": [{"key": "team", "operator": "Exists"}],
        "nodeSelector": {"pool": "a"},
    }
    pod = pod_of(service, two_clouds, gpu={"type": "nvidia-l4"}, podTemplate={"spec": wishes})
    assert pod["affinity"] == on_nodes(
        {"matchExpressions": [L4, SSD]}, {"matchExpressions": [ALSO_L4, SSD]}
    )
    assert [each["key"] for each in pod["tolerations"]] == ["nvidia.com/gpu", "team"]
    assert pod["nodeSelector"] == {"pool": "a"}


def test_pods_keep_their_gpus_nodes_where_an_author_only_keeps_pods_apart(
    service: Object, two_clouds: Settings
) -> None:
    apart = {"podAntiAffinity": {NODE_TERMS: [{"topologyKey": "kubernetes.io/hostname"}]}}
    pod = pod_of(
        service, two_clouds, gpu={"type": "nvidia-l4"}, podTemplate={"spec": {"affinity": apart}}
    )
    needed = on_nodes({"matchExpressions": [L4]}, {"matchExpressions": [ALSO_L4]})
    assert pod["affinity"] == {**apart, **needed}


def test_a_node_label_that_contradicts_the_gpu_is_refused(
    service: Object, settings: Settings
) -> None:
    t4 = {"spec": {"nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}}}
    with pytest.raises(SpecError, match=r"contradicts gpu\.type"):
        pod_of(service, settings, gpu={"type": "nvidia-l4"}, podTemplate=t4)


@pytest.mark.parametrize(
    "wish",
    [
        {"affinity": "near"},
        {"affinity": {"nodeAffinity": [1]}},
        {"affinity": on_nodes("ssd")},
        {"affinity": on_nodes({"matchExpressions": {}})},
        {"tolerations": {"key": "team"}},
        {"nodeSelector": ["ssd"]},
    ],
    ids=["affinity", "nodeAffinity", "term", "expressions", "tolerations", "nodeSelector"],
)
def test_a_placement_of_another_shape_is_refused_with_its_field(
    service: Object, two_clouds: Settings, wish: Object
) -> None:
    with pytest.raises(SpecError, match="has another shape"):
        pod_of(service, two_clouds, gpu={"type": "nvidia-l4"}, podTemplate={"spec": wish})


@pytest.mark.parametrize(
    ("path", "is_gone"),
    [
        ("spec.securityContext.runAsUser", lambda pod: "runAsUser" not in pod["securityContext"]),
        ("spec.containers[server].livenessProbe",
         lambda pod: "livenessProbe" not in pod["containers"][0]),
        ("spec.containers[server].env[DIFFUSION_SERVICE]",
         lambda pod: all(e["name"] != "DIFFUSION_SERVICE" for e in pod["containers"][0]["env"])),
        ("spec.topologySpreadConstraints[kubernetes.io/hostname]",
         lambda pod: len(pod["topologySpreadConstraints"]) == 1),
    ],
    ids=["field", "item's field", "item", "item by another key"],
)  # fmt: skip
def test_a_path_takes_a_field_or_an_item_away(
    service: Object, settings: Settings, path: str, is_gone: Any
) -> None:
    assert not is_gone(pod_of(service, settings))
    assert is_gone(pod_of(service, settings, podTemplate={"remove": [path]}))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("spec.hostNetwork", "the pod has no spec.hostNetwork"),
        ("spec.containers[other]", "the pod has no"),
        ("spec..containers", "is no path"),
        ("spec.containers[server]", "removes container"),
        ("metadata.labels[diffusion.dev/service]", "labels of the pods' selector"),
    ],
)
def test_a_path_that_leads_nowhere_or_cuts_the_pod_off_is_refused(
    service: Object, settings: Settings, path: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        pod_of(service, settings, podTemplate={"remove": [path]})


DEFAULTS: Object = {
    "metadata": {"labels": {"cost": "ml"}, "annotations": {"mesh": "off"}},
    "spec": {"imagePullSecrets": [{"name": "pull"}], "tolerations": [{"key": "team"}]},
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
    "volumeMounts": [{"name": "tmp", "mountPath": "/certs"}],
    "remove": ["spec.securityContext.runAsUser", "spec.not.there"],
}


def test_the_charts_defaults_reach_every_container_and_the_spec_comes_after(
    service: Object, settings: Settings
) -> None:
    everywhere = with_settings(settings, podDefaults=DEFAULTS)
    fetched = {"source": "hf://org/model"}
    gpu = {"type": "nvidia-l4"}
    pod = pod_of(service, everywhere, model=fetched, gpu=gpu)
    assert len([*pod["initContainers"], *pod["containers"]]) == 2
    for container in (*pod["initContainers"], *pod["containers"]):
        assert {"name": "HTTPS_PROXY", "value": "http://proxy"} in container["env"]
        assert {"name": "tmp", "mountPath": "/certs"} in container["volumeMounts"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert [each["key"] for each in pod["tolerations"]] == ["nvidia.com/gpu", "team"]
    assert "runAsUser" not in pod["securityContext"]
    own = {"spec": {"securityContext": {"runAsUser": 5}}}
    assert pod_of(service, everywhere, podTemplate=own)["securityContext"]["runAsUser"] == 5
    assert pod_of(service, with_settings(settings, podDefaults={})) == pod_of(service, settings)


def test_a_catalogue_entry_may_name_a_runtime_class_and_a_resource_claim(
    service: Object, settings: Settings
) -> None:
    entry = {"resourceClaimTemplate": "one-l4", "runtimeClassName": "nvidia"}
    claimed = with_settings(settings, accelerators={"l4": entry})
    pod = pod_of(service, claimed, gpu={"type": "l4", "count": 2})
    assert pod["runtimeClassName"] == "nvidia"
    claims = [{"name": f"gpu-{n}", "resourceClaimTemplateName": "one-l4"} for n in range(2)]
    assert pod["resourceClaims"] == claims
    resources = pod["containers"][0]["resources"]
    assert resources["claims"] == [{"name": "gpu-0"}, {"name": "gpu-1"}]
    assert "nvidia.com/gpu" not in resources["limits"]
    with pytest.raises(ValueError, match="exactly one of resourceName"):
        with_settings(settings, accelerators={"l4": {"runtimeClassName": "nvidia"}})
