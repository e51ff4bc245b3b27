"""The RayService for KubeRay, and the service's status that follows from it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.children import optional_children
from diffusion_operator.diffusionservice.kuberay.workload import ray_workload
from diffusion_operator.diffusionservice.pod_counts import observe_pods, with_head
from diffusion_operator.diffusionservice.specs.deployment import ready_within
from diffusion_operator.diffusionservice.specs.ray_service import (
    RAY_VERSION,
    ray_service,
    workers_of,
)
from diffusion_operator.diffusionservice.specs.service import service as build_service
from diffusion_operator.diffusionservice.status import service_status
from diffusion_operator.kube.objects import labels_of
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.settings import Settings
from diffusion_serving.backends.rayserve.declared_applications import APPLICATIONS

Object = dict[str, Any]
ROOT = Path(__file__).parents[3]
CLUSTER: Object = {"backend": "rayserve", "rayserve": {"topology": "cluster"}}
NOW = "2026-01-02T03:04:05Z"


def spec_of(service: Object, **changes: Any) -> DiffusionServiceSpec:
    return DiffusionServiceSpec.model_validate({**service["spec"], **CLUSTER, **changes})


def head_of(manifest: Object) -> Object:
    template: Object = manifest["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    return template


def env_of(template: Object) -> dict[str, str | None]:
    (server, *_) = template["spec"]["containers"]
    assert server["name"] == "server"
    return {item["name"]: item.get("value") for item in server["env"]}


def test_the_program_of_the_image_runs_and_kuberay_keeps_the_token(
    service: Object, settings: Settings
) -> None:
    manifest = ray_service(service, spec_of(service), settings)
    assert manifest["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"
    head, worker = env_of(head_of(manifest)), env_of(workers_of(manifest)["template"])
    assert (head["DIFFUSION_RAY_ROLE"], worker["DIFFUSION_RAY_ROLE"]) == ("head", "worker")
    assert not {"RAY_AUTH_TOKEN", "DIFFUSION_RAY_HEAD"} & {*head, *worker}
    assert manifest["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    ports = {port["name"]: port["containerPort"] for port in
             head_of(manifest)["spec"]["containers"][0]["ports"]}  # fmt: skip
    assert str(ports["dashboard"]) == head["DIFFUSION_RAY_DASHBOARD"]
    assert json.loads(manifest["spec"]["serveConfigV2"]) == APPLICATIONS


def test_both_kinds_of_pods_carry_the_revision_which_replicas_do_not_change(
    service: Object, settings: Settings
) -> None:
    one = ray_service(service, spec_of(service), settings)
    other = ray_service(service, spec_of(service, replicas=5), settings)
    label = "diffusion.dev/revision"
    revisions = {
        labels_of(template)[label]
        for manifest in (one, other)
        for template in (head_of(manifest), workers_of(manifest)["template"])
    }
    assert len(revisions) == 1
    group = workers_of(other)
    assert {group[name] for name in ("replicas", "minReplicas", "maxReplicas")} == {5}
    changed = ray_service(service, spec_of(service, generation={"steps": 9}), settings)
    assert labels_of(head_of(changed))[label] not in revisions


def test_the_server_is_the_first_container_where_kuberay_expects_it(
    service: Object, settings: Settings
) -> None:
    sidecar = {"spec": {"containers": [{"name": "a-proxy", "image": "mesh:1"}]}}
    manifest = ray_service(service, spec_of(service, podTemplate=sidecar), settings)
    names = [each["name"] for each in workers_of(manifest)["template"]["spec"]["containers"]]
    assert names == ["server", "a-proxy"]


def test_the_service_selects_the_head_by_a_label_that_the_workers_lack(
    service: Object, settings: Settings
) -> None:
    spec = spec_of(service)
    selector = build_service(service, spec)["spec"]["selector"]
    manifest = ray_service(service, spec, settings)
    assert selector.items() <= labels_of(head_of(manifest)).items()
    assert not selector.items() <= labels_of(workers_of(manifest)["template"]).items()


def test_the_head_may_wait_as_long_as_its_workers_may_take(
    service: Object, settings: Settings
) -> None:
    spec = spec_of(service, model={"source": "hf://CompVis/stable-diffusion-v1-4"})
    made = ray_service(service, spec, settings)
    probe = head_of(made)["spec"]["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= ready_within(spec)
    own = workers_of(made)["template"]["spec"]["containers"][0]["startupProbe"]
    assert own["failureThreshold"] < ready_within(spec)


def test_the_head_has_no_model_and_needs_no_gpu(service: Object, settings: Settings) -> None:
    spec = spec_of(service, model={"source": "pvc://weights/sd"}, gpu={"type": "nvidia-l4"})
    made = ray_service(service, spec, settings)
    workers = workers_of(made)["template"]
    for template in (workers, head_of(made)):
        pod = template["spec"]
        claims = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
        gpus = "nvidia.com/gpu" in json.dumps(pod["containers"][0]["resources"])
        assert (bool(claims), gpus, "nodeSelector" in pod) == (template is workers,) * 3


def test_the_head_follows_the_pod_template_but_for_the_servers_resources(
    service: Object, settings: Settings
) -> None:
    patch = {
        "metadata": {"annotations": {"mesh": "off"}},
        "spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "tolerations": [{"key": "team", "operator": "Exists"}],
            "containers": [
                {
                    "name": "server",
                    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
                    "resources": {"limits": {"nvidia.com/gpu": "1"}},
                }
            ],
        },
        "remove": ["spec.securityContext.runAsUser", "spec.topologySpreadConstraints"],
    }
    template = head_of(ray_service(service, spec_of(service, podTemplate=patch), settings))
    plain = head_of(ray_service(service, spec_of(service), settings))
    assert template["metadata"]["annotations"] == {"mesh": "off"}
    pod = template["spec"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["tolerations"] == [{"key": "team", "operator": "Exists"}]
    assert "runAsUser" not in pod["securityContext"]
    (server,), (before,) = pod["containers"], plain["spec"]["containers"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy"} in server["env"]
    assert server["resources"] == before["resources"]


def test_kuberay_gets_a_budget_that_needs_no_scale_and_a_network_policy(
    service: Object, settings: Settings
) -> None:
    plain = settings.model_dump(by_alias=True)
    open_to = Settings.model_validate({**plain, "networkPolicy": {"admit": []}})
    made = optional_children(service, spec_of(service, replicas=3), open_to, kuberay=True)
    specs = {each["kind"]: each["spec"] for each in made}
    assert set(specs) == {"PodDisruptionBudget", "NetworkPolicy"}
    assert specs["PodDisruptionBudget"]["minAvailable"] == 2
    assert "maxUnavailable" not in specs["PodDisruptionBudget"]
    ports = {port["port"] for port in specs["NetworkPolicy"]["ingress"][-1]["ports"]}
    assert ports == {8000, 8265}


def test_a_name_that_kuberay_does_not_take_is_refused_with_a_sentence(
    service: Object, settings: Settings
) -> None:
    service["metadata"]["name"] = "n" * 47
    ray_service(service, spec_of(service), settings)
    service["metadata"]["name"] = "n" * 48
    with pytest.raises(SpecError, match="at most 47 characters"):
        ray_service(service, spec_of(service), settings)


def test_the_ray_service_names_the_version_of_ray_in_the_image() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert re.findall(r"^ray==(\S+)", lock, re.MULTILINE) == [RAY_VERSION]


class Scene:
    """A RayService of one worker, with KubeRay's status of it and its pods."""

    def __init__(self, service: Object, settings: Settings) -> None:
        self.service = service
        self.spec = spec_of(service, replicas=1)
        self.ray_object = ray_service(service, self.spec, settings)
        self.ray_object["metadata"]["generation"] = 2
        self.workers: list[Object] = []
        self.heads: list[Object] = []
        self.revision = ray_workload(self.ray_object, []).revision

    def reports(self, **status: Any) -> None:
        self.ray_object["status"] = {"observedGeneration": 2} | status

    def add_pods(self, revision: str | None = None) -> None:
        """Adds a head and a worker that are ready."""
        for kind in (self.workers, self.heads):
            kind.append(
                {
                    "metadata": {
                        "name": f"pod-{len(kind)}",
                        "labels": {"diffusion.dev/revision": revision or self.revision},
                    },
                    "spec": {"nodeName": "node"},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                }
            )

    def condition(self, kind: str) -> tuple[str, str, str]:
        pods = with_head(
            observe_pods(self.workers, self.revision), observe_pods(self.heads, self.revision)
        )
        status = service_status(
            self.service,
            self.spec,
            precision="float32",
            workload=ray_workload(self.ray_object, self.workers),
            pods=pods,
            problem=None,
            now=NOW,
        )
        (one,) = [each for each in status.conditions if each.type == kind]
        return one.status, one.reason, one.message


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(service, settings)


def test_a_change_that_kuberay_has_not_acted_on_yet_is_reported(scene: Scene) -> None:
    assert scene.condition("Ready")[:2] == ("Unknown", "AwaitingKubeRay")
    scene.add_pods(revision="before")
    assert "revision before serves" in scene.condition("Ready")[2]
    scene.reports()
    assert scene.condition("Ready")[:2] == ("Unknown", "RollingOut")


def test_the_service_is_ready_when_its_pods_answer_and_no_older_one_is_left(scene: Scene) -> None:
    scene.reports(activeServiceStatus={"rayClusterName": "one"})
    scene.add_pods()
    assert scene.condition("Ready")[:2] == ("True", "Serving")
    assert scene.condition("Progressing")[:2] == ("False", "UpToDate")
    scene.add_pods(revision="before")
    assert scene.condition("Ready")[:2] == ("Unknown", "RollingOut")


@pytest.mark.parametrize(
    ("active_cluster", "reason"), [("one", "RollingOut"), ("", "RollingOutWithDowntime")]
)
def test_a_takeover_is_without_downtime_only_from_a_cluster_of_kuberays(
    scene: Scene, active_cluster: str, reason: str
) -> None:
    scene.reports(activeServiceStatus={"rayClusterName": active_cluster})
    scene.add_pods(revision="before")
    assert scene.condition("Progressing")[1] == reason


def test_a_change_is_observed_once_all_its_pods_exist_though_kuberay_reports_it_later(
    scene: Scene,
) -> None:
    scene.reports(observedGeneration=1, pendingServiceStatus={"rayClusterName": "two"})
    assert scene.condition("Ready")[1] == "AwaitingKubeRay"
    scene.add_pods()
    assert scene.condition("Ready")[:2] == ("Unknown", "RollingOut")
    scene.reports(observedGeneration=1)
    assert scene.condition("Ready")[1] == "AwaitingKubeRay"


def test_the_loss_of_the_head_is_reported(scene: Scene) -> None:
    scene.reports(activeServiceStatus={"rayClusterName": "one"})
    scene.add_pods()
    scene.heads.clear()
    assert scene.condition("Ready")[:2] == ("False", "HeadLost")
