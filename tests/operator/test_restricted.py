"""Every kind of pod that the operator makes is admitted under the restricted standard."""

from functools import partial
from typing import Any

import pytest

from kubectl import Kubectl, KubectlError, eventually
from manifests import RESTRICTED, diffusion_service, load_test
from operator_process import OperatorProcess
from played import make_pods_ready

Object = dict[str, Any]

SERVICES: dict[str, Object] = {
    "fastapi": {"backend": "fastapi"},
    "litserve": {"backend": "litserve"},
    "ray-pods": {"backend": "rayserve"},
    "fetching": {
        "model": {
            "source": "hf://somebody/something",
            "tokenSecretRef": {"name": "hub", "key": "token"},
            "cache": {"size": "1Gi"},
            "loras": [{"name": "style", "source": "hf://somebody/style"}],
        },
        "auth": {"apiKeySecretRef": {"name": "keys", "key": "keys"}},
        "provenance": {"contentCredentials": {"certificateSecretRef": {"name": "signer"}}},
    },
}


def pods_of(kubectl: Kubectl, service: str) -> list[Object]:
    return kubectl.list("pods", f"diffusion.dev/service={service}")


@pytest.fixture
def restricted(kubectl: Kubectl) -> Kubectl:
    kubectl.label("namespace", kubectl.namespace, RESTRICTED)
    return kubectl


def test_a_pod_of_each_kind_is_admitted(restricted: Kubectl, operator: OperatorProcess) -> None:
    for name, spec in SERVICES.items():
        restricted.apply(diffusion_service(name, **spec))
    for name in SERVICES:
        eventually(partial(pods_of, restricted, name), what=f"a pod of {name}")
    make_pods_ready(restricted, "fastapi")
    restricted.apply(load_test(target="fastapi", workers=2))
    eventually(
        lambda: len(restricted.list("pods", "diffusion.dev/loadtest=ramp")) >= 3,
        what="the pods of the load test",
    )


def test_a_pod_that_is_not_restricted_is_refused_there(restricted: Kubectl) -> None:
    """The namespace enforces the standard; otherwise the test above would show nothing."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "root", "image": "none"}]},
    }
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        restricted.apply(pod)
