"""Each backend on a real node: image, start, HTTP surface, refusals and end.

The tests of one backend share one service and follow one another: they create, change and end the
service in the order of this file.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from answers import LIMITS, MOST_WAITING, Answers
from http_surface import Pictures, Surface
from in_cluster import (
    OF_SERVICE,
    SMALL,
    forwarded,
    namespace,
    picture,
    requests_so_far,
    wait_until_ready,
    wrong,
)
from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service, load_test
from served import ready_reason
from serving_process import Variant

Object = dict[str, Any]

BACKENDS = ("fastapi", "litserve", "rayserve")
UNTIL_STOPPED = {"stages": [{"users": 3, "duration": "1h"}], "spawnRate": "3"}
PATIENT: Object = {"maxLength": MOST_WAITING, "timeout": "300s"}
AUTH: Object = {"apiKeySecretRef": {"name": "keys", "key": "api-keys"}}
FIRST_KEY, SECOND_KEY = "a-first-key", "a-second-key"
KEYS_REPLACED_WITHIN = 180.0
# Copies of the demo model: one has truncated weights, one a pickle instead of safetensors.
SPOIL = """
for how in corrupted pickled; do cp -r /models/demo /models/other/$how; done
truncate -s 1000 /models/other/corrupted/unet/diffusion_pytorch_model.safetensors
cd /models/other/pickled/unet
rm diffusion_pytorch_model.safetensors
python -c 'import pickle; print(end=pickle.dumps({}, 0).decode())' > diffusion_pytorch_model.bin
"""
REFUSED_MODELS = {
    "corrupted": ("image:///models/other/corrupted", "is not a whole safetensors file"),
    "pickled": ("image:///models/other/pickled", "pickle"),
    "nowhere": ("image:///models/nowhere", "/models/nowhere does not exist"),
}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kubectl(cluster: Kubectl, backend: str) -> Iterator[Kubectl]:
    """kubectl in a namespace with one Ready service of the backend."""
    with namespace(cluster) as kubectl:
        pod = {"spec": {"containers": [SMALL]}}
        kubectl.apply(
            diffusion_service(backend=backend, limits=LIMITS, queue=PATIENT, podTemplate=pod)
        )
        wait_until_ready(kubectl)
        yield kubectl


@pytest.fixture
def served(kubectl: Kubectl) -> Iterator[httpx.Client]:
    with forwarded(kubectl, "service/demo") as client:
        yield client


@pytest.fixture
def server(served: httpx.Client) -> Answers:
    return Answers(served)


@pytest.fixture
def variant(backend: str) -> Variant:
    return Variant(backend)


def restarts(pod: Object) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def the_pod(kubectl: Kubectl) -> Object:
    """Waits until the service has exactly one pod, and returns the pod."""
    (pod,) = eventually(
        lambda: pods if len(pods := kubectl.list("pods", OF_SERVICE)) == 1 else None,
        within=120,
        every=0.5,
        what="one pod",
    )
    return pod


def test_when_ready_it_describes_itself(
    kubectl: Kubectl, served: httpx.Client, backend: str
) -> None:
    service = kubectl.get("dsvc", "demo")
    about = served.get("/about").json()
    assert (about["backend"], about["device"], about["dtype"]) == (backend, "cpu", "float32")
    assert about["revision"] == service["status"]["revision"]
    framework = {"rayserve": "ray"}.get(backend, backend)
    assert {"torch", "diffusers", framework} <= set(about["versions"])
    statuses_by_type = {kind: condition(service, kind)["status"] for kind in
            ("Ready", "Progressing", "ModelLoaded", "PodsScheduled", "Stopped")}  # fmt: skip
    assert statuses_by_type == {
        "Ready": "True",
        "Progressing": "False",
        "ModelLoaded": "True",
        "PodsScheduled": "True",
        "Stopped": "False",
    }
    row = kubectl("get", "dsvc", "demo", "--no-headers").split()
    assert row[:5] == ["demo", backend, "image:///models/demo", "float32", "True"]
    assert row[5:8] == ["1", "Serving", service["status"]["url"]]
    assert restarts(the_pod(kubectl)) == 0


def test_it_draws_what_prompts_ask_for(served: httpx.Client) -> None:
    prompts = ["a red circle on a blue background", "two green squares", "a black cross on pink"]
    for seed, prompt in enumerate(prompts):
        answer = served.post("/predict", json={"prompt": prompt, "seed": seed})
        assert wrong(answer, prompt) == []
    body = {"prompt": prompts[2], "seed": 2}
    raw = served.post("/predict", json=body, headers={"Accept": "image/png"})
    assert raw.content == picture(answer)


class TestSurfaceInAPod:
    """The tests of the HTTP surface that could fail in a pod although they pass in a process.

    The image holds the pages and the encoders, and its own user must be able to read them. On a
    read-only file system each process has its metrics in a memory file. A large body meets the
    pod's memory limit, and comes through a Service.
    """

    test_documentation = Surface.test_documentation_and_description_are_served
    test_root = Surface.test_root_is_the_frameworks_answer_or_the_page
    test_encoders = Pictures.test_an_image_comes_as_bytes
    test_metrics = Surface.test_one_scrape_shows_all_processes
    test_large_body = Surface.test_large_body_is_refused_and_the_server_goes_on


def test_the_pod_survives_any_request_and_shows_no_prompt(
    kubectl: Kubectl, served: httpx.Client, backend: str
) -> None:
    for steps in (1, 10_000):
        served.post("/predict", json={"prompt": "a secret wish", "steps": steps})
    metrics, log = served.get("/metrics").text, kubectl("logs", "deployment/demo")
    assert f'backend="{backend}"' in metrics
    assert "/predict" in log
    assert "secret" not in metrics + log
    assert restarts(the_pod(kubectl)) == 0


def test_no_request_fails_while_it_changes_grows_and_shrinks(kubectl: Kubectl) -> None:
    first = kubectl.get("dsvc", "demo")["status"]["revision"]
    # The users send the key before the service requires it.
    kubectl.apply(keys(FIRST_KEY))
    think = {"min": "100ms", "max": "1500ms"}
    kubectl.apply(load_test(users=UNTIL_STOPPED, think=think, auth=AUTH))
    go_on(kubectl)
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}, "auth": AUTH}})
    wait_until_ready(kubectl)
    assert kubectl.get("dsvc", "demo")["status"]["revision"] != first
    kubectl.scale("dsvc", "demo", 2)
    wait_until_ready(kubectl)
    go_on(kubectl)
    kubectl.scale("dsvc", "demo", 1)
    the_pod(kubectl)
    go_on(kubectl)
    kubectl.delete("loadtest", "ramp")


def go_on(kubectl: Kubectl, requests: int = 10) -> None:
    """Waits for that many more requests of the load; none may have failed."""
    before = requests_so_far(kubectl, "ramp")
    eventually(
        lambda: requests_so_far(kubectl, "ramp") >= before + requests, within=120, what="load"
    )
    progress = kubectl.status("lt", "ramp")["progress"]
    assert progress["failures"] == 0, progress


def keys(key: str) -> Object:
    """A Secret that holds only that key."""
    name, value = AUTH["apiKeySecretRef"]["name"], {AUTH["apiKeySecretRef"]["key"]: key}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": value}


def statuses(client: httpx.Client, key: str = "") -> set[int]:
    """The statuses of the routes that need a key, for requests with that key."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"prompt": "a red circle"}
    answers = [client.post(path, json=body, headers=headers)
               for path in ("/predict", "/v1/images/generations")]  # fmt: skip
    answers.append(client.get("/v1/models", headers=headers))
    return {answer.status_code for answer in answers}


def test_only_requests_with_a_key_are_served(kubectl: Kubectl) -> None:
    the_pod(kubectl)
    with forwarded(kubectl, "service/demo") as client:
        assert statuses(client) == statuses(client, SECOND_KEY) == {401}
        assert statuses(client, FIRST_KEY) == {200}


@pytest.mark.parametrize(
    "backend",
    [BACKENDS[0], *(pytest.param(other, marks=pytest.mark.full) for other in BACKENDS[1:])],
    indirect=True,
)
def test_a_replaced_key_is_taken_and_the_old_one_refused_without_a_restart(
    kubectl: Kubectl, backend: str
) -> None:
    # After the tests above, the service already has this state.
    kubectl.apply(keys(FIRST_KEY))
    kubectl.patch("dsvc", "demo", {"spec": {"auth": AUTH}})
    wait_until_ready(kubectl)
    before = the_pod(kubectl)
    kubectl.apply(keys(SECOND_KEY))
    with forwarded(kubectl, "service/demo") as client:
        eventually(
            lambda: statuses(client, SECOND_KEY) == {200},
            within=KEYS_REPLACED_WITHIN,
            every=1,
            what="the new key to be taken",
        )
        assert statuses(client, FIRST_KEY) == {401}
    after = the_pod(kubectl)
    assert (after["metadata"]["name"], restarts(after)) == (before["metadata"]["name"], 0)


@pytest.mark.parametrize("backend", BACKENDS[:1], indirect=True)
def test_models_that_cannot_be_loaded_are_reported_and_not_served(
    kubectl: Kubectl, backend: str
) -> None:
    """One backend is enough: the program checks the model before it starts the backend."""
    pod_template = {"spec": with_spoilt_models(kubectl)}
    changed, *made = REFUSED_MODELS
    # One model replaces a good one; the other services never had a good one.
    source, _ = REFUSED_MODELS[changed]
    change = {"model": {"source": source}, "podTemplate": pod_template}
    kubectl.patch("dsvc", "demo", {"spec": change})
    for name in made:
        source, _ = REFUSED_MODELS[name]
        kubectl.apply(diffusion_service(name, model={"source": source}, podTemplate=pod_template))
    for name in made:
        refused(kubectl, name, REFUSED_MODELS[name][1])
    message = refused(kubectl, "demo", REFUSED_MODELS[changed][1])
    assert "the previous revision still answers" in message
    with forwarded(kubectl, "service/demo") as client:
        assert client.get("/readyz").status_code == 200


def refused(kubectl: Kubectl, name: str, words: str) -> str:
    """Waits until the Ready condition reports a refused model with these words; its message."""

    def look() -> str:
        message = str(condition(kubectl.get("dsvc", name), "Ready").get("message", ""))
        is_refused = ready_reason(kubectl, name) == "ModelLoadFailed" and words in message
        return message if is_refused else ""

    message = eventually(look, within=180, every=0.5, what=f"the refusal of {name}")
    failure = kubectl.status("dsvc", name)["lastFailure"]
    assert (failure["reason"], failure["exitCode"]) == ("ModelLoadFailed", 78)
    assert words in failure["message"]
    assert restarts(kubectl.get("pod", failure["pod"])) <= 3
    return message


def with_spoilt_models(kubectl: Kubectl) -> Object:
    """The fields of a pod's spec that put the damaged models below /models/other."""
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
