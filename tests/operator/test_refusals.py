"""``kubectl apply`` refuses bad input with a sentence about the remedy."""

import json
from typing import Any

import pytest

from kubectl import Kubectl, KubectlError
from manifests import diffusion_service, load_test
from played_study import comparison

Object = dict[str, Any]
DEMO = {"source": "image:///models/demo"}
HUB = {"source": "hf://a/b"}
LORA = {"name": "sketch", "source": "image:///loras/sketch"}
KEY = {"name": "x", "key": "y"}
STAGE = {"users": 1, "duration": "10s"}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"backend": "flask"}, 'supported values: "fastapi", "litserve", "rayserve"'),
        ({"batching": {"mode": "framework"}}, "FastAPI has no batching of its own"),
        ({"batching": {"maxSize": 0}}, "should be greater than or equal to 1"),
        ({"rayserve": {"topology": "cluster"}}, "rayserve is for backend: rayserve only"),
        ({"gpu": {"type": "standin", "count": 0}}, "should be greater than or equal to 1"),
        ({"model": {"source": "hf://a/b@main"}}, "a revision is written in model.revision"),
        ({"model": {"source": "hf://a/b/c"}}, "model.source must be image:///PATH"),
        ({"model": {"source": "hf://a/b/c.safetensors"}}, "model.source must be image:///PATH"),
        ({"model": {**DEMO, "revision": "main"}}, "model.revision is for hf:// sources only"),
        ({"model": {**DEMO, "tokenSecretRef": KEY}}, "is for hf:// sources only: leave it out"),
        (
            {"model": {"source": "hf://a/b", "credentialsSecretRef": {"name": "x"}}},
            "is for s3:// and gs:// sources only",
        ),
        ({"model": {**DEMO, "cache": {"size": "1Gi"}}}, "nothing here is: leave it out"),
        ({"model": {**HUB, "cache": {}}}, "set exactly one of model.cache.claimName"),
        ({"model": {**HUB, "cache": {"size": "much"}}}, "is a quantity such as 20Gi"),
        (
            {"model": {**HUB, "cache": {"claimName": "c", "storageClassName": "s"}}},
            "belongs to model.cache.size",
        ),
        ({"model": {**DEMO, "loras": [{**LORA, "source": "/x"}]}}, "a LoRA's source must be"),
        (
            {"model": {**DEMO, "loras": [{**LORA, "source": "hf://a/b/c"}]}},
            "or hf://OWNER/REPOSITORY/PATH.safetensors",
        ),
        (
            {"model": {**DEMO, "loras": [{**LORA, "scale": "5"}]}},
            "a decimal number, at most 4, such as",
        ),
        ({"model": {**DEMO, "loras": [LORA, LORA]}}, "Duplicate value"),
        (
            {"podTemplate": {"metadata": {"labels": {"diffusion.dev/service": "x"}}}},
            "the operator's own, by which the pods are found",
        ),
        ({"podTemplate": {"spec": {"containers": [{}]}}}, "containers[0].name: Required value"),
        ({"podTemplate": {"spec": {"restartPolicy": "Never"}}}, 'supported values: "Always"'),
        (
            {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
            "autoscaling.minReplicas is above autoscaling.maxReplicas",
        ),
        (
            {
                "backend": "rayserve",
                "rayserve": {"topology": "cluster"},
                "autoscaling": {"maxReplicas": 2},
            },
            "autoscaling is for rayserve.topology: pods",
        ),
        ({"route": {"host": "a.test"}}, "set exactly one of route.gatewayRef"),
        ({"route": {"host": "https://a.test", "ingressClassName": "x"}}, "is a host name alone"),
        (
            {"route": {"host": "a.test", "gatewayRef": {"name": "g"}, "tlsSecretName": "s"}},
            "with a Gateway the certificate is named in its listener",
        ),
        ({"rollout": {"onFailure": "Retry"}}, 'supported values: "Rollback", "Hold"'),
        ({"auth": {}}, "spec.auth.apiKeySecretRef: Required value"),
        (
            {"provenance": {"contentCredentials": {}}},
            "spec.provenance.contentCredentials.certificateSecretRef: Required value",
        ),
        ({"safety": {"checker": "none"}}, "safety.checker must be None (no check), Model (the"),
        ({"safety": {"checker": "hf://a/../b"}}, "safety.checker must not contain '..'"),
        ({"safety": {"action": "Hide"}}, 'supported values: "Refuse", "Blur"'),
        ({"precision": "float16"}, "float16 needs a GPU: set gpu.type, or write"),
        ({"replicas": -1}, "should be greater than or equal to 0"),
        ({"model": {"source": "http://x"}}, "must be image:///PATH"),
        ({"model": {"source": "pvc://claim/../x"}}, "write the path without going up"),
        ({"generation": {"steps": 101}}, "lower it or raise the limit"),
        ({"generation": {}, "limits": {"maxSteps": 3}}, "generation.steps (default 4) is above"),
        ({"generation": {"width": 100}}, "should be a multiple of 8"),
        ({"generation": {"width": 2048, "height": 2048}}, "is above limits.maxPixels"),
        ({"generation": {"guidanceScale": "2,5"}}, "a decimal number, at most 100, such as"),
        ({"generation": {"guidanceScale": 200}}, "should be less than or equal to 100"),
        ({"generation": {"guidanceScale": True}}, "spec.generation.guidanceScale"),
        ({"generation": {"guidanceScale": [7.5]}}, "spec.generation.guidanceScale"),
        ({"model": {**HUB, "cache": {"size": 20}}}, "is a quantity such as 20Gi"),
        ({"queue": {"timeout": "ten"}}, "write a duration such as 90s"),
        ({"queue": {"timeout": 60}}, "a number alone has no unit"),
        ({"queue": {"timeout": "0s"}}, "queue.timeout is between 1s and 1h"),
        ({"colour": "red"}, 'unknown field "spec.colour"'),
    ],
)
def test_a_bad_service_is_refused(refusing: Kubectl, spec: Object, sentence: str) -> None:
    with pytest.raises(KubectlError) as refused:
        refusing.apply(diffusion_service(**spec))
    assert sentence in str(refused.value)


def test_a_lora_may_be_one_file_of_a_repository_and_its_scale_a_number(kubectl: Kubectl) -> None:
    sources = ("hf://a/b", "hf://a/b/c.safetensors", "hf://a/b/styles/ink-v1.safetensors")
    loras = [{"name": f"l{n}", "source": source, "scale": 0.8} for n, source in enumerate(sources)]
    model = {**DEMO, "loras": loras}
    kubectl.apply(diffusion_service(model=model, generation={"guidanceScale": 7.5}))


@pytest.mark.parametrize(
    ("cache", "sentence"),
    [
        ({"size": "1Gi", "storageClassName": "s"}, "can only grow"),
        ({"size": "3Gi", "storageClassName": "t"}, "storageClassName can't be changed"),
    ],
)
def test_an_impossible_change_of_a_claim_is_refused(
    kubectl: Kubectl, cache: Object, sentence: str
) -> None:
    made = {"size": "2Gi", "storageClassName": "s"}
    kubectl.apply(diffusion_service(model={**HUB, "cache": made}))
    with pytest.raises(KubectlError) as refused:
        kubectl.apply(diffusion_service(model={**HUB, "cache": cache}))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"url": "http://x"}, "set exactly one of targetRef"),
        ({"targetRef": None}, "set exactly one of targetRef"),
        ({"users": {"stages": []}}, "write at least one stage"),
        ({"users": None}, "say how much load: set users.stages"),
        ({"users": {"stages": [{**STAGE, "users": 0}]}}, "greater than or equal to 1"),
        ({"users": {"stages": [{**STAGE, "duration": "10ms"}]}}, "lasts between 1s and 24h"),
        ({"users": {"stages": [{**STAGE, "duration": "10"}]}}, "write a duration such as"),
        ({"users": {"stages": [{**STAGE, "duration": 10}]}}, "a number alone has no unit"),
        ({"users": {"stages": [STAGE], "spawnRate": "0"}}, "a decimal number, above 0, such as"),
        (
            {"users": {"stages": [STAGE], "spawnRate": 0}},
            "should be greater than 0",
        ),
        ({"slo": {"maxFailureRatio": 1.5}}, "should be less than or equal to 1"),
        ({"slo": {"p95": 8}}, "a number alone has no unit"),
        ({"think": {"min": 1, "max": "2s"}}, "a number alone has no unit"),
        ({"connections": {"reuse": 10}}, "write PerRequest, Always, or a duration"),
        ({"think": {"min": "5s", "max": "1s"}}, "think.min is longer than think.max"),
        ({"request": {"prompts": {}}}, "give the prompts either inline or by configMapRef"),
        ({"request": {"prompts": {"inline": [""]}}}, "at least 1 chars long"),
        ({"targetRef": None, "url": "host:8000"}, "url begins with http:// or https://"),
    ],
)
def test_a_bad_test_is_refused(refusing: Kubectl, spec: Object, sentence: str) -> None:
    with pytest.raises(KubectlError) as refused:
        refusing.apply(load_test(**spec))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (diffusion_service(precision="float16"), "float16 needs a GPU: set gpu.type, or write"),
        (load_test(url="http://x"), "set exactly one of targetRef"),
        (comparison("x" * 31), "at most 30 characters"),
    ],
    ids=["DiffusionService", "LoadTest", "Comparison"],
)
def test_kubectl_apply_prints_the_sentence(
    kubectl: Kubectl, manifest: Object, sentence: str
) -> None:
    with pytest.raises(KubectlError, match="kubectl apply") as refused:
        kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    assert sentence in str(refused.value)


@pytest.mark.parametrize("make", [diffusion_service, load_test])
def test_a_name_that_leaves_no_room_for_its_pods_is_refused(kubectl: Kubectl, make: Any) -> None:
    kubectl.apply(make("x" * 52))
    with pytest.raises(KubectlError, match="must have at most 52 characters"):
        kubectl.apply(make("x" * 53))


@pytest.mark.parametrize(
    ("field", "explanation"),
    [
        ("diffusionservice.spec.queue.timeout", "answered 504"),
        ("loadtest.spec.users.stages.duration", "the ramp to the stage's users is part of it"),
    ],
)
def test_kubectl_explain_shows_the_fields_description(
    kubectl: Kubectl, field: str, explanation: str
) -> None:
    assert explanation in " ".join(kubectl("explain", field).split())
