"""Manifests that the builders make from a spec."""

import copy
import json
from typing import Any

import pytest
import yaml

from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.diffusionservice.specs.service import service as build_service
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.kube.service_account import service_account
from diffusion_operator.loadtest.specs.job import PlannedRun, job
from diffusion_operator.loadtest.specs.runner_access import report_config_map, role, role_binding
from diffusion_operator.settings import Settings
from expansion import expanded
from manifest_parts import build, config_of, pod_of, spec_of
from user_text import PATH

Object = dict[str, Any]


@pytest.mark.parametrize("scheme", ["image://", "pvc://claim", "s3://bucket"])
def test_a_path_arrives_to_the_letter(service: Object, settings: Settings, scheme: str) -> None:
    source = f"{scheme}/{PATH}"
    pod = pod_of(build(service, settings, model={"source": source}))
    config = json.loads(expanded(pod["containers"][0]["env"][0]["value"]))
    assert config["model"]["source"] == source
    if scheme != "s3://bucket":
        assert config["model"]["path"].endswith(f"/{PATH}")
    for fetch in pod.get("initContainers", ()):
        assert list(map(expanded, fetch["args"]))[:2] == ["--source", source]


@pytest.mark.parametrize("kind", ["deployment", "service", "serviceaccount", "job", "role"])
def test_every_child_is_owned_and_none_carries_its_owners_labels(
    kind: str, service: Object, loadtest: Object, settings: Settings
) -> None:
    spec = LoadTestSpec.model_validate(loadtest["spec"])
    children = {
        "deployment": lambda: build(service, settings),
        "service": lambda: build_service(service, spec_of(service)),
        "serviceaccount": lambda: service_account(service, "demo"),
        "job": lambda: job(
            PlannedRun(loadtest, spec, settings, run="abc", target_url="http://x", access="a")
        ),
        "role": lambda: role(loadtest, "a"),
    }
    child = children[kind]()
    (owner,) = child["metadata"]["ownerReferences"]
    assert owner["controller"] is True
    assert owner["uid"] in {"u-1", "u-2"}
    assert "argocd.argoproj.io/instance" not in child["metadata"]["labels"]
    assert child["metadata"]["namespace"] == "shop"


def test_building_changes_none_of_its_inputs(service: Object, settings: Settings) -> None:
    before = copy.deepcopy(service)
    build(service, settings)
    assert service == before


def test_the_selectors_hold_only_the_operators_own_label(
    service: Object, settings: Settings
) -> None:
    only = {"diffusion.dev/service": "demo"}
    assert build(service, settings)["spec"]["selector"]["matchLabels"] == only
    assert build_service(service, spec_of(service))["spec"]["selector"] == only


def test_replicas_make_no_new_revision_but_generation_does(
    service: Object, settings: Settings
) -> None:
    revision = revision_of(build(service, settings))
    assert revision_of(build(service, settings, replicas=9)) == revision
    assert revision_of(build(service, settings, generation={"steps": 9})) != revision


def test_precision_follows_the_device_unless_it_is_set(service: Object, settings: Settings) -> None:
    gpu = {"type": "nvidia-l4"}
    assert config_of(build(service, settings))["precision"] == "float32"
    assert config_of(build(service, settings, gpu=gpu))["precision"] == "float16"
    explicit = build(service, settings, gpu=gpu, precision="bfloat16")
    assert config_of(explicit)["precision"] == "bfloat16"


def test_a_gpu_is_requested_as_the_catalogue_says(service: Object, settings: Settings) -> None:
    manifest = build(service, settings, gpu={"type": "nvidia-l4"})
    pod = pod_of(manifest)
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu": "1"}
    assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert config_of(manifest)["device"] == "cuda"


def test_a_stand_in_for_a_gpu_is_placed_like_one_and_computes_on_the_cpu(
    service: Object, settings: Settings
) -> None:
    manifest = build(service, settings, gpu={"type": "standin"})
    assert config_of(manifest)["precision"] == "float32"
    limits = pod_of(manifest)["containers"][0]["resources"]["limits"]
    assert limits["diffusion.dev/standin-gpu"] == "1"
    assert config_of(manifest)["device"] == "cpu"


def test_float16_on_a_stand_in_is_refused_with_what_to_write(
    service: Object, settings: Settings
) -> None:
    with pytest.raises(SpecError, match="write precision: float32 or bfloat16"):
        build(service, settings, gpu={"type": "standin"}, precision="float16")


def test_an_unknown_accelerator_lists_the_known_ones(service: Object, settings: Settings) -> None:
    with pytest.raises(SpecError, match="known: nvidia-l4, standin") as caught:
        build(service, settings, gpu={"type": "nvidia-l5"})
    assert caught.value.reason == "UnknownAccelerator"


def test_a_model_on_a_claim_is_mounted_read_only(service: Object, settings: Settings) -> None:
    manifest = build(service, settings, model={"source": "pvc://weights/sd/v1-4"})
    pod = pod_of(manifest)
    volume = {"name": "model", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}}
    assert volume in pod["volumes"]
    mount = {"name": "model", "mountPath": "/models/claim", "readOnly": True}
    assert mount in pod["containers"][0]["volumeMounts"]
    assert config_of(manifest)["model"]["path"] == "/models/claim/sd/v1-4"


@pytest.mark.parametrize("more", [{}, {"gpu": {"type": "standin"}}])
def test_a_rollout_begins_with_a_new_pod_before_it_ends_an_old_one(
    service: Object, settings: Settings, more: Object
) -> None:
    strategy = build(service, settings, **more)["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


def test_pods_meet_the_restricted_pod_security_standard(
    service: Object, loadtest: Object, settings: Settings
) -> None:
    spec = LoadTestSpec.model_validate(loadtest["spec"])
    runner = job(PlannedRun(loadtest, spec, settings, run="abc", target_url="http://x", access="a"))
    for manifest in (build(service, settings), runner):
        pod = pod_of(manifest)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_serving_pod_gets_no_token_and_a_runner_may_patch_one_config_map(
    service: Object, loadtest: Object, settings: Settings
) -> None:
    assert pod_of(build(service, settings))["automountServiceAccountToken"] is False
    access = role(loadtest, "ramp-loadtest")
    assert access["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["ramp-loadtest"],
            "verbs": ["patch"],
        }
    ]
    binding = role_binding(loadtest, "ramp-loadtest")
    assert binding["roleRef"]["name"] == access["metadata"]["name"]
    assert "data" not in report_config_map(loadtest, "ramp-loadtest")


def test_manifests_are_plain_data(service: Object, settings: Settings) -> None:
    assert yaml.safe_load(yaml.safe_dump(build(service, settings))) == build(service, settings)


def test_gpus_are_counted_and_each_gets_an_engine(service: Object, settings: Settings) -> None:
    manifest = build(service, settings, gpu={"type": "nvidia-l4", "count": 4})
    limits = pod_of(manifest)["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "4"
    assert config_of(manifest)["devices"] == 4
    stand_in = build(service, settings, gpu={"type": "standin", "count": 4})
    # a stand-in computes on the CPU, which is one device
    assert "devices" not in config_of(stand_in)


def test_a_gpu_may_be_found_by_one_of_several_clouds_labels(
    service: Object, settings: Settings
) -> None:
    labels = ({"gke": "l4"}, {"product": "L4", "count": "1"})
    entry = settings.accelerators["nvidia-l4"].model_copy(update={"node_labels": labels})
    several = settings.model_copy(update={"accelerators": {"nvidia-l4": entry}})
    affinity = pod_of(build(service, several, gpu={"type": "nvidia-l4"}))["affinity"]
    required = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms = [
        {expression["key"]: expression["values"] for expression in term["matchExpressions"]}
        for term in required["nodeSelectorTerms"]
    ]
    assert terms == [{"gke": ["l4"]}, {"product": ["L4"], "count": ["1"]}]


def test_each_backend_has_its_image_and_ray_its_shared_memory(
    service: Object, settings: Settings
) -> None:
    for backend in ("fastapi", "litserve", "rayserve"):
        pod = pod_of(build(service, settings, backend=backend))
        (server,) = pod["containers"]
        assert server["image"] == f"reg/{backend}:1"
        mounts = {mount["mountPath"] for mount in server["volumeMounts"]}
        assert ("/dev/shm" in mounts) == (backend == "rayserve")  # noqa: S108 - not ours to use
    assert server["resources"]["requests"] == {"cpu": "500m", "memory": "2Gi"}


def test_a_backend_without_an_image_says_which_value_to_set(
    service: Object, settings: Settings
) -> None:
    images = settings.images.model_copy(update={"backends": {"fastapi": "x:1"}})
    without = settings.model_copy(update={"images": images})
    with pytest.raises(SpecError, match=r"set the chart's value images\.backends\.litserve"):
        build(service, without, backend="litserve")


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"batching": {"mode": "none"}}, {"mode": "none", "maxSize": 8, "maxWaitMilliseconds": 0}),
        ({"batching": {"maxSize": 8}}, {"mode": "engine", "maxSize": 8, "maxWaitMilliseconds": 0}),
        ({"batching": {"maxWaitMilliseconds": 5}}, {"mode": "engine", "maxWaitMilliseconds": 5}),
        ({"compile": "full"}, "full"),
        ({"auth": {"apiKeySecretRef": {"name": "k", "key": "a"}}},
         {"apiKeyFile": "/etc/diffusion/auth/key"}),
        ({"provenance": {"metadata": False}}, {"metadata": False}),
        ({"provenance": {"contentCredentials": {"certificateSecretRef": {"name": "c"}}}},
         {"metadata": True,
          "contentCredentials": {"certificateFile": "/etc/diffusion/credentials/tls.crt",
                                 "privateKeyFile": "/etc/diffusion/credentials/tls.key"}}),
        ({"safety": {"checker": "None"}}, {"checker": "None", "action": "Refuse"}),
        ({"safety": {"checker": "Model"}}, {"checker": "Model", "action": "Refuse"}),
        ({"safety": {"action": "Blur"}}, {"action": "Blur"}),
        ({"safety": {"checker": "image:///models/decent", "action": "Blur"}},
         {"checker": {"path": "/models/decent", "source": "image:///models/decent"},
          "action": "Blur"}),
    ],
)  # fmt: skip
def test_only_fields_that_are_set_add_to_the_configuration(
    service: Object, settings: Settings, change: Object, shown: object
) -> None:
    (field,) = change
    assert config_of(build(service, settings, **change))[field] == shown
    assert field not in config_of(build(service, settings))
    defaults: list[Object] = [
        {"batching": {"mode": "engine"}},
        {"provenance": {"metadata": True}},
        {"safety": {"action": "Refuse"}},
    ]
    for default in defaults:
        assert revision_of(build(service, settings, **default)) == revision_of(
            build(service, settings)
        )


def test_keys_come_as_a_file_that_the_kubelet_keeps_up_to_date(
    service: Object, settings: Settings
) -> None:
    auth = {"apiKeySecretRef": {"name": "keys", "key": "api"}}
    pod = pod_of(build(service, settings, auth=auth))
    items = [{"key": "api", "path": "key"}]
    assert {"name": "api-key", "secret": {"secretName": "keys", "items": items}} in pod["volumes"]
    mount = next(each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "api-key")
    assert mount["mountPath"] == "/etc/diffusion/auth"
    assert "subPath" not in mount  # the kubelet never updates a file of a subPath mount


@pytest.mark.parametrize("backend", ["fastapi", "rayserve"])
def test_a_certificate_comes_as_files_that_the_kubelet_keeps_up_to_date(
    service: Object, settings: Settings, backend: str
) -> None:
    credentials = {"contentCredentials": {"certificateSecretRef": {"name": "signer"}}}
    pod = pod_of(build(service, settings, backend=backend, provenance=credentials))
    items = [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]
    volume = {"name": "content-credentials", "secret": {"secretName": "signer", "items": items}}
    assert volume in pod["volumes"]
    (mount,) = [
        each
        for each in pod["containers"][0]["volumeMounts"]
        if each["name"] == "content-credentials"
    ]
    assert (mount["mountPath"], mount["readOnly"]) == ("/etc/diffusion/credentials", True)
    assert "subPath" not in mount  # the kubelet never updates a file of a subPath mount


def test_a_suspended_service_keeps_its_revision_and_has_no_pod(
    service: Object, settings: Settings
) -> None:
    suspended = build(service, settings, suspend=True)
    assert suspended["spec"]["replicas"] == 0
    assert revision_of(suspended) == revision_of(build(service, settings))


def test_annotations_of_the_service_account_can_be_given(service: Object) -> None:
    account = service_account(service, "demo", {"iam.gke.io/gcp-service-account": "x@y"})
    assert account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"] == "x@y"
    plain = service_account(service, "demo")
    digest = "diffusion.dev/applied-digest"
    assert account["metadata"]["annotations"][digest] != plain["metadata"]["annotations"][digest]


@pytest.mark.parametrize("backend", ["fastapi", "litserve", "rayserve"])
def test_a_pod_has_time_to_finish_the_requests_that_it_began(
    backend: str, service: Object, settings: Settings
) -> None:
    pod = pod_of(build(service, settings, backend=backend, queue={"timeout": "90s"}))
    env = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The load test's users keep an idle connection for up to two seconds.
    assert float(env["DIFFUSION_DRAIN_SECONDS"]) > 2
    longest_request = 60
    assert float(env["DIFFUSION_GRACE_SECONDS"]) >= (
        float(env["DIFFUSION_DRAIN_LIMIT_SECONDS"]) + 90 + longest_request
    )
    # The server's refusals and the end of its processes take their time after that.
    assert pod["terminationGracePeriodSeconds"] >= sleep + 5 + float(env["DIFFUSION_GRACE_SECONDS"])


def test_replicas_of_one_revision_spread_over_nodes_and_zones_where_possible(
    service: Object, settings: Settings
) -> None:
    spread = pod_of(build(service, settings))["topologySpreadConstraints"]
    assert {constraint["topologyKey"] for constraint in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    for constraint in spread:
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        assert constraint["labelSelector"]["matchLabels"] == {"diffusion.dev/service": "demo"}
        # Otherwise the pods of the old revision would count as pods of the new one.
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def start_times(service: Object, settings: Settings, **spec: Any) -> tuple[int, int]:
    """Seconds after which a pod's start is given up, and a rollout is."""
    manifest = build(service, settings, **spec)
    probe = pod_of(manifest)["containers"][0]["startupProbe"]
    allowed = probe["periodSeconds"] * probe["failureThreshold"]
    return allowed, manifest["spec"]["progressDeadlineSeconds"]


def test_the_time_to_start_grows_with_compilation_and_no_rollout_gives_up_before_it(
    service: Object, settings: Settings
) -> None:
    gpu = {"type": "nvidia-l4"}
    plain, regional, full = (
        start_times(service, settings, gpu=gpu, compile=how) for how in ("none", "regional", "full")
    )
    assert [plain[0], regional[0], full[0]] == [1200, 2400, 3600]
    assert all(probe < deadline for probe, deadline in (plain, regional, full))
    # The fetch ends before the probe begins, but takes some of the rollout's time.
    fetched = start_times(service, settings, gpu=gpu, model={"source": "hf://someone/else"})
    assert fetched[0] == plain[0]
    assert fetched[1] > plain[1]


def test_the_time_to_start_grows_with_the_models_size_where_it_is_known(
    service: Object, settings: Settings
) -> None:
    sources = (
        "hf://someone/else",
        "hf://CompVis/stable-diffusion-v1-4",
        "hf://stabilityai/stable-diffusion-2-1",
        "hf://stabilityai/stable-diffusion-xl-base-1.0",
    )
    times = [start_times(service, settings, model={"source": source}) for source in sources]
    assert sorted(times) == times
    assert len(set(times)) == len(times)
    # The files hold 13.9 GB of float32, whatever the serving precision, at 10 MB/s.
    assert times[-1][0] == 900 + 1388
    half = {"precision": "bfloat16", "model": {"source": sources[-1]}}
    assert start_times(service, settings, **half) == times[-1]
    compiled = start_times(service, settings, compile="regional", model={"source": sources[-1]})
    assert compiled[0] - times[-1][0] == 1200
    assert all(probe < deadline for probe, deadline in times)
