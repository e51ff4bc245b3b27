"""A model that is fetched into the cluster, from a hub or a bucket in it."""

import json
from typing import Any

import pytest

from in_cluster import OF_SERVICE, SMALL, ready_reason, wait_until_ready, wrong
from install import Installed
from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service
from models_in_cluster import (
    ENDPOINT,
    REPO,
    S3_ACCESS_KEY,
    S3_ENDPOINT,
    S3_SOURCE,
    TOKEN,
    start_hub,
    start_s3,
)
from node_volume import shared_claim

Object = dict[str, Any]
Forward = Any


def test_what_a_remote_model_lacks_is_said_and_three_replicas_fetch_it_once(
    cluster: Kubectl, installed: Installed, kubectl: Kubectl, forward: Forward
) -> None:
    image = serving_image(cluster.in_namespace(installed.namespace), "fastapi")
    start_hub(kubectl, image)
    with shared_claim(kubectl, image, "models"):
        kubectl.apply(remote_service())
        eventually(lambda: ready_reason(kubectl) == "SecretNotFound", within=120, what="the lack")
        assert "hub-token" in condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
        kubectl.apply(secret("hub-token", token="a-wrong-token"))
        eventually(lambda: ready_reason(kubectl) == "DownloadFailed", within=180, what="the no")
        failure = kubectl.status("dsvc", "demo")["lastFailure"]
        assert REPO in failure["message"]
        assert "wrong-token" not in failure["message"]
        kubectl.apply(secret("hub-token", token=TOKEN))
        kubectl("delete", "pods", "-l", OF_SERVICE)
        wait_until_ready(kubectl)
        pods = kubectl.list("pods", OF_SERVICE)
        told = [word for pod in pods for word in fetching(kubectl, pod)]
        assert (len(pods), told.count("fetched")) == (3, 1), told
        with forward("service/demo") as client:
            assert client.get("/about").json()["source"] == f"hf://{REPO}"
            answer = client.post("/predict", json={"prompt": "a red circle", "seed": 1})
            assert wrong(answer, "a red circle") == []
        kubectl("delete", "dsvc", "demo")


@pytest.mark.full
def test_model_comes_from_a_bucket_to_whoever_has_its_key(
    cluster: Kubectl, installed: Installed, kubectl: Kubectl, forward: Forward
) -> None:
    start_s3(kubectl, serving_image(cluster.in_namespace(installed.namespace), "fastapi"))
    kubectl.apply(bucket_key("AKIAWRONG"))
    kubectl.apply(bucket_service())
    eventually(lambda: ready_reason(kubectl) == "DownloadFailed", within=180, what="the no")
    failure = kubectl.status("dsvc", "demo")["lastFailure"]
    assert "refused access to s3://weights/models/shapes" in failure["message"]
    kubectl.apply(bucket_key(S3_ACCESS_KEY))
    kubectl("delete", "pods", "-l", OF_SERVICE)
    wait_until_ready(kubectl)
    with forward("service/demo") as client:
        assert client.get("/about").json()["source"] == S3_SOURCE
        answer = client.post("/predict", json={"prompt": "a red circle", "seed": 1})
        assert wrong(answer, "a red circle") == []


def bucket_key(access_key: str) -> Object:
    return secret("bucket", AWS_ACCESS_KEY_ID=access_key, AWS_SECRET_ACCESS_KEY="hush")


def bucket_service() -> Object:
    where = [
        {"name": "AWS_ENDPOINT_URL", "value": S3_ENDPOINT},
        {"name": "AWS_DEFAULT_REGION", "value": "eu-central-1"},
    ]
    return diffusion_service(
        model={"source": S3_SOURCE, "credentialsSecretRef": {"name": "bucket"}},
        podTemplate={
            "spec": {
                "containers": [SMALL],
                "initContainers": [{**SMALL, "name": "model", "env": where}],
            }
        },
    )


def serving_image(system: Kubectl, backend: str) -> str:
    """The image of a backend, as the operator was told."""
    settings = system.get("configmap", "diffusion-operator-settings")["data"]["settings.json"]
    return str(json.loads(settings)["images"]["backends"][backend])


def remote_service() -> Object:
    model = {
        "source": f"hf://{REPO}",
        "tokenSecretRef": {"name": "hub-token", "key": "token"},
        "cache": {"claimName": "models"},
    }
    fetcher = {"name": "model", "env": [{"name": "HF_ENDPOINT", "value": ENDPOINT}]}
    pod = {"containers": [SMALL], "initContainers": [{**SMALL, **fetcher}]}
    return diffusion_service(model=model, replicas=3, podTemplate={"spec": pod})


def secret(name: str, **values: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": values,
    }


def fetching(kubectl: Kubectl, pod: Object) -> list[str]:
    """What the container that fetches said in the pod."""
    lines = kubectl("logs", pod["metadata"]["name"], "-c", "model").splitlines()
    return [str(json.loads(line)["message"]) for line in lines]
