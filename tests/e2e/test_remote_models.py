"""Models that pods fetch from a hub or a bucket inside the cluster."""

import json
from typing import Any

import pytest

from in_cluster import OF_SERVICE, SMALL, StandIn, wait_until_ready, wrong
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
from served import ready_reason

Object = dict[str, Any]
Forward = Any


def test_missing_and_wrong_tokens_are_reported_and_three_replicas_fetch_the_model_once(
    kubectl: Kubectl, forward: Forward, stand_in: StandIn
) -> None:
    start_hub(kubectl, stand_in.image)
    with shared_claim(kubectl, stand_in.image, "models"):
        kubectl.apply(remote_service(stand_in))
        eventually(
            lambda: ready_reason(kubectl) == "SecretNotFound", within=120, what="the missing Secret"
        )
        assert "hub-token" in condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
        kubectl.apply(secret("hub-token", token="a-wrong-token"))
        eventually(
            lambda: ready_reason(kubectl) == "DownloadFailed", within=180, what="the refusal"
        )
        failure = kubectl.status("dsvc", "demo")["lastFailure"]
        assert REPO in failure["message"]
        assert "wrong-token" not in failure["message"]
        kubectl.apply(secret("hub-token", token=TOKEN))
        kubectl.delete_all("pods", OF_SERVICE)
        wait_until_ready(kubectl)
        pods = kubectl.list("pods", OF_SERVICE)
        messages = [word for pod in pods for word in fetching(kubectl, pod)]
        assert (len(pods), messages.count("fetched")) == (3, 1), messages
        with forward("service/demo") as client:
            assert client.get("/about").json()["source"] == f"hf://{REPO}"
        # Equal files prove more than an equal picture.
        same, other = compared_to_the_demo_model(kubectl, pods[0])
        assert same >= 6, (
            "a model has at least its index, and the configurations and weights of its parts"
        )
        assert other == []
        kubectl.delete("dsvc", "demo")


@pytest.mark.full
def test_model_comes_from_a_bucket_only_with_its_key(
    kubectl: Kubectl, forward: Forward, stand_in: StandIn
) -> None:
    start_s3(kubectl, stand_in.image)
    kubectl.apply(bucket_key("AKIAWRONG"))
    kubectl.apply(bucket_service())
    eventually(lambda: ready_reason(kubectl) == "DownloadFailed", within=180, what="the refusal")
    failure = kubectl.status("dsvc", "demo")["lastFailure"]
    assert "refused access to s3://weights/models/shapes" in failure["message"]
    kubectl.apply(bucket_key(S3_ACCESS_KEY))
    kubectl.delete_all("pods", OF_SERVICE)
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


COMPARE = """
import filecmp, json, os, pathlib
served = pathlib.Path(json.loads(os.environ["DIFFUSION_SERVING_CONFIG"])["model"]["path"])
files = [str(file.relative_to(served)) for file in served.rglob("*")
         if file.is_file() and not file.name.startswith(".")]
same, *other = filecmp.cmpfiles(served, "/models/demo", files, shallow=False)
print(json.dumps([len(same), sum(other, [])]))
"""


def compared_to_the_demo_model(kubectl: Kubectl, pod: Object) -> tuple[int, list[str]]:
    """The number of files that the pod's model shares with the demo model, and the other files."""
    answer = kubectl("exec", pod["metadata"]["name"], "-c", "server", "--", "python", "-c", COMPARE)
    same, other = json.loads(answer)
    return same, other


def remote_service(stand_in: StandIn) -> Object:
    model = {
        "source": f"hf://{REPO}",
        "tokenSecretRef": {"name": "hub-token", "key": "token"},
        "cache": {"claimName": "models"},
    }
    fetcher = {"name": "model", "env": [{"name": "HF_ENDPOINT", "value": ENDPOINT}]}
    pod = {"initContainers": [{**SMALL, **fetcher}]}
    return stand_in.service(model=model, replicas=3, podTemplate={"spec": pod})


def secret(name: str, **values: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": values,
    }


def fetching(kubectl: Kubectl, pod: Object) -> list[str]:
    """The log messages of the pod's container that fetches."""
    lines = kubectl("logs", pod["metadata"]["name"], "-c", "model").splitlines()
    return [str(json.loads(line)["message"]) for line in lines]
