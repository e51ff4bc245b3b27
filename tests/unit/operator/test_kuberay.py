"""What KubeRay is asked for, and what is said of what it made."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.children import optional_children
from diffusion_operator.diffusionservice.kuberay.workload import ray_workload
from diffusion_operator.diffusionservice.pods import observe_pods, with_head
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


def head_of(found: Object) -> Object:
    template: Object = found["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]
    return template


def env_of(template: Object) -> dict[str, str | None]:
    (server, *_) = template["spec"]["containers"]
    assert server["name"] == "server"
    return {item["name"]: item.get("value") for item in server["env"]}


def test_the_program_of_the_image_runs_and_kuberay_keeps_the_token(
    service: Object, settings: Settings
) -> None:
    found = ray_service(service, spec_of(service), settings)
    assert found["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"
    head, worker = env_of(head_of(found)), env_of(workers_of(found)["template"])
    assert (head["DIFFUSION_RAY_ROLE"], worker["DIFFUSION_RAY_ROLE"]) == ("head", "worker")
    assert not {"RAY_AUTH_TOKEN", "DIFFUSION_RAY_HEAD"} & {*head, *worker}
    assert found["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    ports = {port["name"]: port["containerPort"] for port in
             head_of(found)["spec"]["containers"][0]["ports"]}  # fmt: skip
    assert str(ports["dashboard"]) == head["DIFFUSION_RAY_DASHBOARD"]
    assert json.loads(found["spec"]["serveConfigV2"]) == APPLICATIONS


def test_both_kinds_of_pods_carry_the_revision_which_replicas_do_not_change(
    service: Object, settings: Settings
) -> None:
    one = ray_service(service, spec_of(service), settings)
    other = ray_service(service, spec_of(service, replicas=5), settings)
    label = "diffusion.dev/revision"
    revisions = {
        labels_of(template)[label]
        for found in (one, other)
        for template in (head_of(found), workers_of(found)["template"])
    }
    assert len(revisions) == 1
    group = workers_of(other)
    assert {group[name] for name in ("replicas", "minReplicas", "maxReplicas")} == {5}
    changed = ray_service(service, spec_of(service, generation={"steps": 9}), settings)
    assert labels_of(head_of(changed))[label] not in revisions


def test_the_server_stands_where_kuberay_looks_for_it(service: Object, settings: Settings) -> None:
    sidecar = {"spec": {"containers": [{"name": "a-proxy", "image": "mesh:1"}]}}
    found = ray_service(service, spec_of(service, podTemplate=sidecar), settings)
    names = [each["name"] for each in workers_of(found)["template"]["spec"]["containers"]]
    assert names == ["server", "a-proxy"]


def test_the_service_finds_the_head_by_the_label_that_it_has_here_too(
    service: Object, settings: Settings
) -> None:
    spec = spec_of(service)
    entrance = build_service(service, spec)["spec"]["selector"]
    found = ray_service(service, spec, settings)
    assert entrance.items() <= labels_of(head_of(found)).items()
    assert not entrance.items() <= labels_of(workers_of(found)["template"]).items()


def test_its_head_may_wait_as_long_as_its_workers_may_take(
    service: Object, settings: Settings
) -> None:
    spec = spec_of(service, model={"source": "hf://CompVis/stable-diffusion-v1-4"})
    made = ray_service(service, spec, settings)
    probe = head_of(made)["spec"]["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= ready_within(spec)
    own = workers_of(made)["template"]["spec"]["containers"][0]["startupProbe"]
    assert own["failureThreshold"] < ready_within(spec)


def test_its_head_has_no_model_and_needs_no_gpu(service: Object, settings: Settings) -> None:
    spec = spec_of(service, model={"source": "pvc://weights/sd"}, gpu={"type": "nvidia-l4"})
    made = ray_service(service, spec, settings)
    workers = workers_of(made)["template"]
    for template in (workers, head_of(made)):
        pod = template["spec"]
        claims = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
        gpus = "nvidia.com/gpu" in json.dumps(pod["containers"][0]["resources"])
        assert (bool(claims), gpus, "nodeSelector" in pod) == (template is workers,) * 3


def test_kuberay_gets_a_budget_that_needs_no_scale_and_a_way_in(
    service: Object, settings: Settings
) -> None:
    plain = settings.model_dump(by_alias=True)
    open_to = Settings.model_validate({**plain, "networkPolicy": {"admit": []}})
    made = optional_children(service, spec_of(service, replicas=3), open_to, kuberay=True)
    found = {each["kind"]: each["spec"] for each in made}
    assert set(found) == {"PodDisruptionBudget", "NetworkPolicy"}
    assert found["PodDisruptionBudget"]["minAvailable"] == 2
    assert "maxUnavailable" not in found["PodDisruptionBudget"]
    ports = {port["port"] for port in found["NetworkPolicy"]["ingress"][-1]["ports"]}
    assert ports == {8000, 8265}


def test_a_name_that_kuberay_does_not_take_is_refused_with_a_sentence(
    service: Object, settings: Settings
) -> None:
    service["metadata"]["name"] = "n" * 47
    ray_service(service, spec_of(service), settings)
    service["metadata"]["name"] = "n" * 48
    with pytest.raises(SpecError, match="at most 47 characters"):
        ray_service(service, spec_of(service), settings)


def test_kuberay_is_told_the_ray_that_the_image_has() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert re.findall(r"^ray==(\S+)", lock, re.MULTILINE) == [RAY_VERSION]


class Scene:
    """A RayService of one worker as KubeRay tells of it, and pods to put beside it."""

    def __init__(self, service: Object, settings: Settings) -> None:
        self.service = service
        self.spec = spec_of(service, replicas=1)
        self.found = ray_service(service, self.spec, settings)
        self.found["metadata"]["generation"] = 2
        self.workers: list[Object] = []
        self.heads: list[Object] = []
        self.revision = ray_workload(self.found, []).revision

    def says(self, **status: Any) -> None:
        self.found["status"] = {"observedGeneration": 2} | status

    def pods(self, revision: str | None = None) -> None:
        """A head and a worker that answer."""
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

    def said(self, kind: str) -> tuple[str, str, str]:
        pods = with_head(
            observe_pods(self.workers, self.revision), observe_pods(self.heads, self.revision)
        )
        status = service_status(
            self.service,
            self.spec,
            precision="float32",
            workload=ray_workload(self.found, self.workers),
            pods=pods,
            problem=None,
            now=NOW,
        )
        (found,) = [each for each in status.conditions if each.type == kind]
        return found.status, found.reason, found.message


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(service, settings)


def test_that_kuberay_has_not_acted_yet_is_said(scene: Scene) -> None:
    assert scene.said("Ready")[:2] == ("Unknown", "AwaitingKubeRay")
    scene.pods(revision="before")
    assert "revision before serves" in scene.said("Ready")[2]
    scene.says()
    assert scene.said("Ready")[:2] == ("Unknown", "RollingOut")


def test_it_serves_when_its_pods_answer_and_no_older_one_is_left(scene: Scene) -> None:
    scene.says(activeServiceStatus={"rayClusterName": "one"})
    scene.pods()
    assert scene.said("Ready")[:2] == ("True", "Serving")
    assert scene.said("Progressing")[:2] == ("False", "UpToDate")
    scene.pods(revision="before")
    assert scene.said("Ready")[:2] == ("Unknown", "RollingOut")


@pytest.mark.parametrize(
    ("served", "reason"), [("one", "RollingOut"), ("", "RollingOutWithDowntime")]
)
def test_a_takeover_is_without_downtime_only_from_a_cluster_of_kuberays(
    scene: Scene, served: str, reason: str
) -> None:
    scene.says(activeServiceStatus={"rayClusterName": served})
    scene.pods(revision="before")
    assert scene.said("Progressing")[1] == reason


def test_it_is_heard_once_all_pods_of_a_change_are_there_though_kuberay_says_so_later(
    scene: Scene,
) -> None:
    scene.says(observedGeneration=1, pendingServiceStatus={"rayClusterName": "two"})
    assert scene.said("Ready")[1] == "AwaitingKubeRay"
    scene.pods()
    assert scene.said("Ready")[:2] == ("Unknown", "RollingOut")
    scene.says(observedGeneration=1)
    assert scene.said("Ready")[1] == "AwaitingKubeRay"


def test_the_loss_of_its_head_is_told_of(scene: Scene) -> None:
    scene.says(activeServiceStatus={"rayClusterName": "one"})
    scene.pods()
    scene.heads.clear()
    assert scene.said("Ready")[:2] == ("False", "HeadLost")
