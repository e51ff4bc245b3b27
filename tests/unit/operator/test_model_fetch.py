"""The fetch of a remote model, its credentials, its LoRAs and its cache."""

import hashlib
import json
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.model_fetch import (
    cache_claim,
    uses_single_node_cache,
)
from diffusion_operator.settings import Settings
from manifest_parts import build, config_of, pod_of, spec_of

Object = dict[str, Any]


HUB: Object = {"source": "hf://owner/model", "revision": "v1"}


def test_a_remote_model_is_fetched_before_the_server_starts(
    service: Object, settings: Settings
) -> None:
    model = {**HUB, "tokenSecretRef": {"name": "hub", "key": "token"}}
    manifest = build(service, settings, model=model)
    pod = pod_of(manifest)
    (fetch,) = pod["initContainers"]
    key = hashlib.sha256(b"hf://owner/model@v1").hexdigest()[:16]
    assert fetch["name"] == "model"
    assert fetch["image"] == pod["containers"][0]["image"]
    assert fetch["command"] == ["python", "-m", "diffusion_serving.fetch"]
    assert fetch["args"] == [
        *("--source", "hf://owner/model", "--revision", "v1", "--to", f"/models/store/{key}")
    ]
    assert fetch["env"] == [
        {"name": "HF_ENDPOINT", "value": "https://hub.test"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
    ]
    assert config_of(manifest)["model"]["path"] == f"/models/store/{key}"
    assert {"name": "store", "emptyDir": {}} in pod["volumes"]


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_only_the_fetch_container_gets_the_credentials(
    service: Object, settings: Settings, scheme: str
) -> None:
    model = {"source": f"{scheme}://b/m", "credentialsSecretRef": {"name": "keys"}}
    pod = pod_of(build(service, settings, model=model))
    (fetch,) = pod["initContainers"]
    assert "keys" in json.dumps(fetch) or "keys" in json.dumps(pod["volumes"])
    if scheme == "s3":
        assert fetch["envFrom"] == [{"secretRef": {"name": "keys"}}]
    else:
        file = {"name": "GOOGLE_APPLICATION_CREDENTIALS",
                "value": "/etc/diffusion/credentials/key.json"}  # fmt: skip
        assert file in fetch["env"]
    (server,) = pod["containers"]
    assert "envFrom" not in server
    assert all(mount["name"] != "credentials" for mount in server["volumeMounts"])


def test_loras_are_fetched_or_mounted_each_from_its_source(
    service: Object, settings: Settings
) -> None:
    loras = [
        {"name": "a", "source": "hf://owner/lora", "scale": "0.8"},
        {"name": "b", "source": "pvc://others/b.safetensors"},
        {"name": "c", "source": "pvc://weights/c"},
        {"name": "d", "source": "hf://owner/lora"},
        {"name": "e", "source": "hf://owner/lora/styles/e.safetensors"},
    ]
    manifest = build(service, settings, model={"source": "pvc://weights/sd", "loras": loras})
    pod = pod_of(manifest)
    assert [each["name"] for each in pod["initContainers"]] == ["lora-a", "lora-e"]
    served = {each["name"]: each for each in config_of(manifest)["model"]["loras"]}
    assert served["a"]["path"] == served["d"]["path"] != served["e"]["path"]
    assert (served["a"]["scale"], served["b"]["scale"]) == (0.8, 1.0)
    assert served["b"]["path"] == "/models/claim-1/b.safetensors"
    assert served["c"]["path"] == "/models/claim/c"
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in pod["volumes"]
        if "persistentVolumeClaim" in each
    }
    assert claims == {"model": "weights", "model-1": "others"}


def test_a_safety_checker_is_fetched_like_the_model_and_with_its_credentials(
    service: Object, settings: Settings
) -> None:
    model = {**HUB, "tokenSecretRef": {"name": "hub", "key": "token"}}
    manifest = build(service, settings, model=model, safety={"checker": "hf://acme/decent"})
    fetch_model, fetch = pod_of(manifest)["initContainers"]
    key = hashlib.sha256(b"hf://acme/decent@").hexdigest()[:16]
    assert fetch["name"] == "safety-checker"
    assert fetch["args"] == ["--source", "hf://acme/decent", "--to", f"/models/store/{key}"]
    assert fetch["env"] == fetch_model["env"]
    assert config_of(manifest)["safety"] == {
        "checker": {"path": f"/models/store/{key}", "source": "hf://acme/decent"},
        "action": "Refuse",
    }


@pytest.mark.parametrize("checker", ["None", "Model", None])
def test_a_checker_without_a_source_is_not_fetched(
    service: Object, settings: Settings, checker: str | None
) -> None:
    pod = pod_of(build(service, settings, model=HUB, safety={"checker": checker}))
    assert [each["name"] for each in pod["initContainers"]] == ["model"]


def test_a_checker_on_a_claim_is_mounted_beside_the_model(
    service: Object, settings: Settings
) -> None:
    manifest = build(
        service,
        settings,
        model={"source": "pvc://weights/sd"},
        safety={"checker": "pvc://checkers/decent"},
    )
    pod = pod_of(manifest)
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in pod["volumes"]
        if "persistentVolumeClaim" in each
    }
    assert claims == {"model": "weights", "model-1": "checkers"}
    assert config_of(manifest)["safety"]["checker"]["path"] == "/models/claim-1/decent"
    mounts = {each["mountPath"]: each["name"] for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["/models/claim-1"] == "model-1"


@pytest.mark.parametrize(
    ("cache", "claim"),
    [({"claimName": "shared"}, "shared"), ({"size": "20Gi"}, "demo-models")],
)
def test_a_cache_keeps_the_fetched_model_and_the_server_only_reads_it(
    service: Object, settings: Settings, cache: Object, claim: str
) -> None:
    model = {**HUB, "cache": cache}
    pod = pod_of(build(service, settings, model=model))
    volume = {"name": "store", "persistentVolumeClaim": {"claimName": claim}}
    assert volume in pod["volumes"]
    mount = {"name": "store", "mountPath": "/models/store", "readOnly": True}
    assert mount in pod["containers"][0]["volumeMounts"]
    made = cache_claim(
        service, DiffusionServiceSpec.model_validate({**service["spec"], "model": model})
    )
    assert (made is not None) == ("size" in cache)
    if made:
        assert made["metadata"]["name"] == claim
        assert made["spec"]["resources"]["requests"] == {"storage": "20Gi"}


def test_a_cache_for_one_node_is_claimed_so_and_rolls_out_in_place(service: Object) -> None:
    cache = {"size": "20Gi", "accessMode": "ReadWriteOnce"}
    spec = spec_of(service, model={"source": "hf://org/model", "cache": cache})
    claim = cache_claim(service, spec)
    assert claim is not None
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert uses_single_node_cache(spec)
    assert not uses_single_node_cache(spec_of(service))
