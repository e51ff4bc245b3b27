"""Random specs are refused with a sentence or reconciled."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from kubernetes import client, config

from kubectl import Kubectl, condition, eventually
from operator_process import OperatorProcess
from schema_specs import specs

Object = dict[str, Any]

CRDS = Path(__file__).parents[2] / "crds"
GROUP, VERSION = "diffusion.dev", "v1alpha1"
BATCH = 50
REFUSED = {400, 422}
# Errors that are no bugs of the operator: the API server's own refusals, and a wait.
EXPECTED_FAILURES = {"ReconcileError", "LeftoverError"}
FAILED = re.compile(r"failed, again in [0-9.]+ s: (\w+): (.{0,300})")
KINDS = {"diffusionservices": "DiffusionService", "loadtests": "LoadTest"}


def drawn(plural: str, count: int) -> list[Object]:
    """That many specs, the same in every run."""
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    examples: list[Object] = []

    @seed(1)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(specs(schema))
    def draw(spec: Object) -> None:
        examples.append(spec)

    draw()
    return [_few_pods(_likely(plural, index, spec)) for index, spec in enumerate(examples)]


def _likely(plural: str, index: int, spec: Any) -> Any:
    """Adds a target and users to three LoadTests in four, since both are rare by chance."""
    if plural != "loadtests" or index % 4 == 0 or not isinstance(spec, dict):
        return spec
    users = {"stages": [{"users": 2, "duration": "5s"}]}
    return {"url": "http://nobody.example", "users": users, **spec}


def _few_pods(spec: Any) -> Any:
    """Limits the spec to one replica: thousands of pods would show no more."""
    many = isinstance(spec, dict) and isinstance(spec.get("replicas"), int) and spec["replicas"] > 1
    return {**spec, "replicas": 1} if many else spec


@pytest.fixture
def objects(kubectl: Kubectl) -> client.CustomObjectsApi:
    configuration = client.Configuration()
    config.load_kube_config(kubectl.kubeconfig, client_configuration=configuration)
    return client.CustomObjectsApi(client.ApiClient(configuration))


@pytest.mark.parametrize(
    ("plural", "count"),
    [
        ("diffusionservices", 140),
        ("loadtests", 60),
        pytest.param("diffusionservices", 1400, marks=pytest.mark.full),
        pytest.param("loadtests", 600, marks=pytest.mark.full),
    ],
)
def test_a_random_spec_is_refused_with_a_sentence_or_reconciled(
    kubectl: Kubectl,
    objects: client.CustomObjectsApi,
    operator: OperatorProcess,
    plural: str,
    count: int,
) -> None:
    begun = len(operator.log.read_text())
    taken = 0
    everything = drawn(plural, count)
    for number, batch in enumerate(_batches(everything)):
        accepted = _create(objects, kubectl.namespace, plural, number, batch)
        taken += len(accepted)
        eventually(
            partial(_all_answered, kubectl, plural, accepted),
            within=120,
            what=f"an answer to each of {json.dumps(accepted)}",
        )
        kubectl.delete_all(plural, wait=False)
    # A generator would show little if the API server refused all specs, or none.
    assert count / 10 < taken < count * 9 / 10
    log = operator.log.read_text()[begun:]
    assert "Traceback" not in log
    mistakes = {match for match in FAILED.findall(log) if match[0] not in EXPECTED_FAILURES}
    assert mistakes == set()


def _batches(everything: list[Object]) -> Iterator[list[Object]]:
    for start in range(0, len(everything), BATCH):
        yield everything[start : start + BATCH]


def _create(
    objects: client.CustomObjectsApi,
    namespace: str,
    plural: str,
    number: int,
    batch: list[Object],
) -> dict[str, Object]:
    """Creates the batch; returns the specs that the API server accepted, by name."""
    accepted, refusals = {}, []
    for index, spec in enumerate(batch):
        name = f"random-{number}-{index}"
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KINDS[plural],
            "metadata": {"name": name},
            "spec": spec,
        }
        try:
            objects.create_namespaced_custom_object(GROUP, VERSION, namespace, plural, body)
        except client.ApiException as refused:
            message = json.loads(refused.body or "{}").get("message", "")
            refusals.append((refused.status, message))
        else:
            accepted[name] = spec
    unclear = [each for each in refusals if each[0] not in REFUSED or "spec" not in each[1]]
    assert unclear == []
    return accepted


def _all_answered(kubectl: Kubectl, plural: str, accepted: dict[str, Object]) -> bool:
    """Whether each object has a status with a reason and a message."""
    by_name = {obj["metadata"]["name"]: obj for obj in kubectl.list(plural)}
    return all(_answered(by_name[name]) for name in accepted)


def _answered(obj: Object) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    explained = [each for each in conditions if each["reason"] and each["message"]]
    main = condition(obj, "Ready") or condition(obj, "Complete") or condition(obj, "Failed")
    return bool(explained) and bool(main)
