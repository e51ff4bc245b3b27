"""Manifests of a LoadTest with workers, a key or a search, and the deadline of its Job."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from diffusion_operator.api.load import LoadSpec
from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.loadtest.specs.job import (
    OVERHEAD_SECONDS,
    PlannedRun,
    job,
    job_name,
    master_service,
    workers_job,
    workers_name,
)
from diffusion_operator.loadtest.specs.load_plan import longest_seconds
from diffusion_operator.loadtest.specs.network_policy import network_policy
from diffusion_operator.settings import Settings
from expansion import expanded
from manifest_parts import pod_of
from user_text import NASTY

Object = dict[str, Any]
STAGES = {"stages": [{"users": 4, "duration": "60s"}, {"users": 10, "duration": "30s"}]}


def manifest_of(loadtest: Object, settings: Settings, build: Any = job, **spec: Any) -> Object:
    parsed = LoadTestSpec.model_validate({**loadtest["spec"], **spec})
    manifest: Object = build(
        PlannedRun(loadtest, parsed, settings, run="abcdef", target_url="u", access="acc")
    )
    return manifest


def container_of(manifest: Object) -> Object:
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    result: Object = container
    return result


def test_one_runner_generates_the_load_by_itself(loadtest: Object, settings: Settings) -> None:
    assert "args" not in container_of(manifest_of(loadtest, settings))


def test_with_workers_the_runner_only_coordinates_them(
    loadtest: Object, settings: Settings
) -> None:
    runner = manifest_of(loadtest, settings, workers=3)
    workers = manifest_of(loadtest, settings, workers_job, workers=3)
    assert container_of(runner)["args"] == ["--role", "master"]
    host = "lt-ramp-master.shop.svc:5557"
    assert container_of(workers)["args"] == ["--role", "worker", "--master", host]
    assert workers["spec"]["completionMode"] == "Indexed"
    assert (workers["spec"]["completions"], workers["spec"]["parallelism"]) == (3, 3)
    plans = [container_of(each)["env"][0]["value"] for each in (runner, workers)]
    assert plans[0] == plans[1]
    pod = workers["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    selector = master_service(loadtest, "abcdef")["spec"]["selector"]
    assert selector.items() <= runner["spec"]["template"]["metadata"]["labels"].items()
    assert not selector.items() <= workers["spec"]["template"]["metadata"]["labels"].items()


def test_prompts_arrive_to_the_letter(loadtest: Object, settings: Settings) -> None:
    request = {"prompts": {"inline": [NASTY]}, "negativePrompt": NASTY}
    for build in (job, workers_job):
        container = container_of(manifest_of(loadtest, settings, build, request=request, workers=2))
        plan = json.loads(expanded(container["env"][0]["value"]))
        assert plan["prompts"]["inline"] == [NASTY]
        assert plan["request"]["body"]["negative_prompt"] == NASTY


def test_the_longest_prompts_fit_into_one_variable_however_they_are_written(
    loadtest: Object, settings: Settings
) -> None:
    for letter in ("\x01", "🎨", "$", '"'):
        request = {"prompts": {"inline": [letter * 1000] * 20}, "negativePrompt": letter * 1000}
        container = container_of(manifest_of(loadtest, settings, request=request))
        # Linux takes 128 KiB in one variable, its name and its end included.
        assert len(expanded(container["env"][0]["value"]).encode()) < 131_072 - 32


def test_the_longest_names_fit(loadtest: Object) -> None:
    loadtest["metadata"]["name"] = "x" * 52
    assert len(job_name(loadtest, "abcdef")) <= 63
    assert len(f"{workers_name(loadtest, 'abcdef')}-63") <= 63  # an indexed pod's host name
    assert len(master_service(loadtest, "abcdef")["metadata"]["name"]) <= 63


def test_a_key_goes_to_all_pods_that_send_requests_and_stays_out_of_the_plan(
    loadtest: Object, settings: Settings
) -> None:
    auth = {"apiKeySecretRef": {"name": "keys", "key": "api"}}
    for build in (job, workers_job):
        plan, key = container_of(manifest_of(loadtest, settings, build, auth=auth, workers=2))[
            "env"
        ]
        assert key["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": "api"}
        assert json.loads(plan["value"])["auth"] == {"apiKeyVariable": key["name"]}


def test_a_search_is_planned_in_numbers(loadtest: Object, settings: Settings) -> None:
    search = {"over": "users", "max": 64, "probe": "90s"}
    slo = {"p95": "8s", "maxFailureRatio": "0.01"}
    manifest = manifest_of(loadtest, settings, users=None, think=None, search=search, slo=slo)
    plan = json.loads(container_of(manifest)["env"][0]["value"])
    assert plan["search"] == {"over": "users", "min": 1.0, "max": 64.0, "probeSeconds": 90.0}
    assert plan["slo"] == {"p95Seconds": 8.0, "maxFailureRatio": 0.01}
    assert "users" not in plan


@pytest.mark.parametrize(
    ("reuse", "planned"),
    [("PerRequest", "PerRequest"), ("Always", "Always"), ("1m30s", 90.0), (None, 10.0)],
)
def test_reuse_of_connections_is_planned_in_seconds(
    loadtest: Object, settings: Settings, reuse: str | None, planned: object
) -> None:
    manifest = manifest_of(loadtest, settings, connections={"reuse": reuse} if reuse else {})
    plan = json.loads(container_of(manifest)["env"][0]["value"])
    assert plan["connections"] == {"reuse": planned}


@pytest.mark.parametrize("reuse", ["Never", "0s", "25h", "10", "always"])
def test_other_reuse_of_connections_is_refused(loadtest: Object, reuse: str) -> None:
    with pytest.raises(ValidationError, match=r"connections\.reuse"):
        LoadTestSpec.model_validate({**loadtest["spec"], "connections": {"reuse": reuse}})


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({"users": STAGES}, 90 + 60),
        ({"users": STAGES, "warmup": {"duration": "20s"}}, 90 + 60 + 20 + 60),
        ({"users": STAGES, "warmup": {"requests": 8}}, 90 + 60 + 8 * 60 / 4 + 60),
        ({"users": STAGES, "minRequests": 100}, 90 + 60 + 100 * 60 / 10),
        (
            {"arrivals": {"stages": [{"ratePerSecond": "2", "duration": "60s"}]}, "minRequests": 9},
            60 + 60 + 4.5,
        ),
        ({"search": {"over": "users", "max": 64, "probe": "10s"}}, 20 * (3 * 10 + 60)),
    ],
)
def test_a_run_may_take_as_long_as_its_slowest_requests(spec: Object, seconds: float) -> None:
    assert longest_seconds(LoadSpec.model_validate(spec)) == pytest.approx(seconds)


def test_a_job_is_ended_only_when_it_must_be_stuck(loadtest: Object, settings: Settings) -> None:
    deadline = manifest_of(loadtest, settings)["spec"]["activeDeadlineSeconds"]
    assert deadline == 90 + 60 + OVERHEAD_SECONDS
    assert (
        manifest_of(loadtest, settings, webUI=True)["spec"]["activeDeadlineSeconds"]
        == deadline + 600
    )


def test_the_load_plan_says_what_the_spec_says(loadtest: Object, settings: Settings) -> None:
    spec = LoadTestSpec.model_validate(loadtest["spec"])
    manifest = job(
        PlannedRun(loadtest, spec, settings, run="abc", target_url="http://x", access="acc")
    )
    (container,) = pod_of(manifest)["containers"]
    plan = json.loads(container["env"][0]["value"])
    assert plan["users"] == {"stages": [{"users": 4, "durationSeconds": 90.0}], "spawnRate": 2.0}
    assert plan["think"] == {"minSeconds": 0.5, "maxSeconds": 2.0}
    assert plan["request"] == {
        "body": {"steps": 4, "guidance_scale": 2.5},
        "seed": {"policy": "target"},
        "timeoutSeconds": 60.0,
        "decodeShare": 0.05,
    }
    assert plan["report"] == {"configMap": "acc"}


def test_the_longest_name_still_makes_a_job_whose_label_fits(
    loadtest: Object, settings: Settings
) -> None:
    loadtest["metadata"]["name"] = "x" * 52
    spec = LoadTestSpec.model_validate(loadtest["spec"])
    manifest = job(
        PlannedRun(loadtest, spec, settings, run="abcdef", target_url="http://x", access="a")
    )
    assert len(manifest["metadata"]["name"]) <= 63


def test_prompts_of_a_config_map_are_mounted_and_named_in_the_plan(
    loadtest: Object, settings: Settings
) -> None:
    loadtest["spec"]["request"] = {"prompts": {"configMapRef": {"name": "words"}}}
    spec = LoadTestSpec.model_validate(loadtest["spec"])
    manifest = job(
        PlannedRun(loadtest, spec, settings, run="abc", target_url="http://x", access="a")
    )
    pod = pod_of(manifest)
    volume = pod["volumes"][1]["configMap"]
    assert volume == {"name": "words", "items": [{"key": "prompts.txt", "path": "prompts.txt"}]}
    mount = pod["containers"][0]["volumeMounts"][1]["mountPath"]
    plan = json.loads(pod["containers"][0]["env"][0]["value"])
    assert plan["prompts"]["file"] == f"{mount}/prompts.txt"


PLACED: Object = {
    "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
    "spec": {
        "tolerations": [{"key": "team", "value": "load", "effect": "NoSchedule"}],
        "nodeSelector": {"pool": "load"},
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [{"name": "locust", "resources": {"limits": {"cpu": "1"}}}],
    },
    "remove": ["spec.securityContext.runAsUser"],
}


@pytest.mark.parametrize("build", [job, workers_job])
def test_the_pods_of_a_test_follow_their_template_and_the_charts_defaults(
    loadtest: Object, settings: Settings, build: Any
) -> None:
    defaults = {"env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}]}
    everywhere = Settings.model_validate(
        {**settings.model_dump(by_alias=True), "podDefaults": defaults}
    )
    made = manifest_of(loadtest, everywhere, build, podTemplate=PLACED, workers=2)
    template = made["spec"]["template"]
    assert template["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    pod = template["spec"]
    assert pod["nodeSelector"] == {"pool": "load"}
    assert pod["tolerations"] == PLACED["spec"]["tolerations"]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert "runAsUser" not in pod["securityContext"]
    container = container_of(made)
    assert container["resources"]["limits"] == {"cpu": "1"}
    assert {"name": "HTTPS_PROXY", "value": "http://proxy"} in container["env"]


def test_no_autoscaler_moves_a_runner(loadtest: Object, settings: Settings) -> None:
    annotations = manifest_of(loadtest, settings)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"spec": {"containers": [{"name": "locust", "$patch": "delete"}]}}, "removes container"),
        ({"metadata": {"labels": None}}, "labels of the pods' selector"),
        ({"remove": ["spec.restartPolicy"]}, "restartPolicy must be Never"),
    ],
)
def test_a_template_that_would_cut_the_pods_off_their_run_is_refused(
    loadtest: Object, settings: Settings, patch: Object, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        manifest_of(loadtest, settings, podTemplate=patch)


def test_the_pods_of_a_test_may_talk_to_each_other_where_all_else_is_denied(
    loadtest: Object,
) -> None:
    spec = network_policy(loadtest)["spec"]
    own = {"podSelector": {"matchLabels": {"diffusion.dev/loadtest": "ramp"}}}
    assert spec["podSelector"] == own["podSelector"]
    assert spec["ingress"] == [{"from": [own], "ports": [{"port": 5557, "protocol": "TCP"}]}]
