"""Each backend on a real node: its image, its start, its surface, its end, and what it refuses.

The tests of one backend share one service and follow one another: it is made, changed and ended in
the order in which they stand here.
"""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from in_cluster import (
    OF_SERVICE,
    SMALL,
    forwarded,
    namespace,
    picture,
    ready_reason,
    requests_so_far,
    wait_until_ready,
    wrong,
)
from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service, load_test

Object = dict[str, Any]

BACKENDS = ("fastapi", "litserve", "rayserve")
UNTIL_STOPPED = {"stages": [{"users": 3, "duration": "1h"}], "spawnRate": "3"}
# Copies of the demo model that were cut off, and that hold a pickle instead of safetensors.
SPOIL = """
for how in corrupted pickled; do cp -r /models/demo /models/other/$how; done
truncate -s 1000 /models/other/corrupted/unet/diffusion_pytorch_model.safetensors
cd /models/other/pickled/unet
rm diffusion_pytorch_model.safetensors
python -c 'import pickle; print(end=pickle.dumps({}, 0).decode())' > diffusion_pytorch_model.bin
"""
REFUSED_MODELS = {
    "image:///models/other/corrupted": "is not a whole safetensors file",
    "image:///models/other/pickled": "pickle",
    "image:///models/nowhere": "/models/nowhere does not exist",
}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kubectl(cluster: Kubectl, backend: str) -> Iterator[Kubectl]:
    """kubectl in a namespace with one service of the backend, which became Ready."""
    with namespace(cluster) as kubectl:
        kubectl.apply(
            diffusion_service(backend=backend, podTemplate={"spec": {"containers": [SMALL]}})
        )
        wait_until_ready(kubectl)
        yield kubectl


@pytest.fixture
def served(kubectl: Kubectl) -> Iterator[httpx.Client]:
    with forwarded(kubectl, "service/demo") as client:
        yield client


def test_ready_it_tells_what_it_is(kubectl: Kubectl, served: httpx.Client, backend: str) -> None:
    service = kubectl.get("dsvc", "demo")
    about = served.get("/about").json()
    assert (about["backend"], about["device"], about["dtype"]) == (backend, "cpu", "float32")
    assert about["revision"] == service["status"]["revision"]
    framework = {"rayserve": "ray"}.get(backend, backend)
    assert {"torch", "diffusers", framework} <= set(about["versions"])
    told = {kind: condition(service, kind)["status"] for kind in
            ("Ready", "Progressing", "ModelLoaded", "PodsScheduled", "Stopped")}  # fmt: skip
    assert told == {
        "Ready": "True",
        "Progressing": "False",
        "ModelLoaded": "True",
        "PodsScheduled": "True",
        "Stopped": "False",
    }
    row = kubectl("get", "dsvc", "demo", "--no-headers").split()
    assert row[:5] == ["demo", backend, "image:///models/demo", "float32", "True"]
    assert row[5:8] == ["1", "Serving", service["status"]["url"]]
    (pod,) = kubectl.list("pods", OF_SERVICE)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_it_draws_what_prompts_ask_for_in_every_way_of_asking(served: httpx.Client) -> None:
    prompts = ["a red circle on a blue background", "two green squares", "a black cross on pink"]
    for seed, prompt in enumerate(prompts):
        answer = served.post("/predict", json={"prompt": prompt, "seed": seed})
        assert wrong(answer, prompt) == []
    asked = {"prompt": prompts[2], "seed": 2}
    raw = served.post("/predict", json=asked, headers={"Accept": "image/png"})
    assert raw.headers["content-type"] == "image/png"
    assert raw.content == picture(answer)
    client = openai.OpenAI(base_url=str(served.base_url.join("/v1")), api_key="any", max_retries=0)
    files = [one.b64_json or "" for one in
             client.images.generate(prompt="a red circle", size="64x64").data or ()]  # fmt: skip
    assert [Image.open(io.BytesIO(base64.b64decode(file))).size for file in files] == [(64, 64)]
    with pytest.raises(openai.BadRequestError, match="size"):
        client.images.generate(prompt="x", size="65x65")


def test_probes_metrics_pages_and_problems_are_the_same(
    kubectl: Kubectl, served: httpx.Client, backend: str
) -> None:
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/ui"):
        assert served.get(path).status_code == 200, path
    refused = served.post("/predict", json={"prompt": "a secret wish", "steps": 10_000})
    assert (refused.status_code, refused.json()["status"]) == (422, 422)
    assert refused.headers["content-type"] == "application/problem+json"
    assert "steps" in refused.json()["detail"]
    assert served.post("/predict", content=b"prompt=x").status_code == 415
    assert served.get("/nowhere").headers["content-type"] == "application/problem+json"
    metrics = served.get("/metrics").text
    assert f'backend="{backend}"' in metrics
    assert 'diffusion_requests_total{code="422",route="/predict"} 1.0' in metrics
    assert 'diffusion_rejected_total{reason="invalid"}' in metrics
    assert "secret" not in metrics + kubectl("logs", "deployment/demo")


def test_no_request_fails_while_it_changes_grows_and_loses_a_pod(kubectl: Kubectl) -> None:
    first = kubectl.get("dsvc", "demo")["status"]["revision"]
    kubectl.apply(load_test(users=UNTIL_STOPPED, think={"min": "100ms", "max": "1500ms"}))
    go_on(kubectl)
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    wait_until_ready(kubectl)
    assert kubectl.get("dsvc", "demo")["status"]["revision"] != first
    kubectl("scale", "dsvc/demo", "--replicas=2")
    wait_until_ready(kubectl)
    go_on(kubectl)
    lost = kubectl.list("pods", OF_SERVICE)[0]["metadata"]["name"]
    kubectl("delete", "pod", lost)
    go_on(kubectl)
    kubectl("delete", "loadtest", "ramp")
    kubectl("scale", "dsvc/demo", "--replicas=1")


def go_on(kubectl: Kubectl, requests: int = 10) -> None:
    """Wait for that many more requests of the load; none may have failed."""
    before = requests_so_far(kubectl, "ramp")
    eventually(
        lambda: requests_so_far(kubectl, "ramp") >= before + requests, within=120, what="load"
    )
    progress = kubectl.status("lt", "ramp")["progress"]
    assert progress["failures"] == 0, progress


@pytest.mark.parametrize(("source", "words"), REFUSED_MODELS.items(), ids=REFUSED_MODELS.values())
def test_a_model_that_cannot_be_loaded_is_said_and_not_served(
    kubectl: Kubectl, source: str, words: str
) -> None:
    pod_template = {"spec": with_spoilt_models(kubectl)}
    change = {"model": {"source": source}, "podTemplate": pod_template}
    kubectl.patch("dsvc", "demo", {"spec": change})
    message = eventually(lambda: refusal(kubectl, words), within=180, what="the refusal")
    assert "the previous revision still answers" in message
    failure = kubectl.status("dsvc", "demo")["lastFailure"]
    assert (failure["reason"], failure["exitCode"]) == ("ModelLoadFailed", 78)
    assert words in failure["message"]
    pod = kubectl.get("pod", failure["pod"])
    assert pod["status"]["containerStatuses"][0]["restartCount"] <= 3
    with forwarded(kubectl, "service/demo") as client:
        assert client.get("/readyz").status_code == 200


def refusal(kubectl: Kubectl, words: str) -> str:
    """The message of the Ready condition once it is a refused model with these words."""
    message = str(condition(kubectl.get("dsvc", "demo"), "Ready").get("message", ""))
    return message if ready_reason(kubectl) == "ModelLoadFailed" and words in message else ""


def with_spoilt_models(kubectl: Kubectl) -> Object:
    """What a pod's spec needs so that spoilt models lie below /models/other."""
    image = kubectl.get("deployment", "demo")["spec"]["template"]["spec"]["containers"][0]["image"]
    mount = {"name": "other", "mountPath": "/models/other"}
    spoil = {
        "name": "spoil",
        "image": image,
        "command": ["sh", "-ec", SPOIL],
        "volumeMounts": [mount],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "volumes": [{"name": "other", "emptyDir": {}}],
        "initContainers": [spoil],
        "containers": [{**SMALL, "volumeMounts": [mount]}],
    }
