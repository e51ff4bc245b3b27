"""A model that is fetched into the cluster, from a hub that runs in it."""

import json
from typing import Any

from hub_in_cluster import ENDPOINT, REPO, TOKEN, start_hub
from in_cluster import OF_SERVICE, SMALL, ready_reason, wait_until_ready, wrong
from install import Installed
from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service
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
        kubectl.apply(secret("a-wrong-token"))
        eventually(lambda: ready_reason(kubectl) == "DownloadFailed", within=180, what="the no")
        failure = kubectl.status("dsvc", "demo")["lastFailure"]
        assert REPO in failure["message"]
        assert "wrong-token" not in failure["message"]
        kubectl.apply(secret(TOKEN))
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


def secret(token: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hub-token"},
        "stringData": {"token": token},
    }


def fetching(kubectl: Kubectl, pod: Object) -> list[str]:
    """What the container that fetches said in the pod."""
    lines = kubectl("logs", pod["metadata"]["name"], "-c", "model").splitlines()
    return [str(json.loads(line)["message"]) for line in lines]
