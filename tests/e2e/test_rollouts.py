"""Rollouts of one service on a real node under load.

The tests share the service and its load, and follow one another in the order of this file. No
request fails in any of them.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from in_cluster import (
    OF_SERVICE,
    StandIn,
    namespace,
    stand_in_gpus,
    wait_until_ready,
)
from kubectl import Kubectl, condition, eventually
from manifests import load_test
from served import ready_reason
from steady_load import STEADY, Load

Object = dict[str, Any]

TRIED_WITHIN = 180.0
# A gate whose client was too busy runs its load test again, after a pause.
DECIDED_WITHIN = 600.0
# Steps are long enough for a queue with eight users, and short enough for two cores.
STEP_SECONDS = "0.05"


@pytest.fixture(scope="module")
def kubectl(cluster: Kubectl, stand_in: StandIn) -> Iterator[Kubectl]:
    """kubectl in a namespace with one Ready service under a steady load."""
    with namespace(cluster) as kubectl:
        kubectl.apply(stand_in.service(batching={"maxSize": 2}, step_seconds=STEP_SECONDS))
        wait_until_ready(kubectl)
        kubectl.apply(load_test(**STEADY))
        yield kubectl


@pytest.fixture
def load(kubectl: Kubectl) -> Iterator[Load]:
    """The steady load, which must continue without a failure."""
    load = Load(kubectl)
    load.goes_on()
    yield load
    load.goes_on()
    load.assert_none_failed()


def gate(p50: str) -> Object:
    """A gate with at least 60 requests and that limit of the median, which needs five draws."""
    users = {"stages": [{"users": 1, "duration": "1s"}]}
    quick = {"steps": 1, "guidanceScale": "1", "width": 64, "height": 64}
    template = {"users": users, "minRequests": 60, "request": quick, "slo": {"p50": p50}}
    return {"gate": {"loadTestTemplate": template}}


def decided(kubectl: Kubectl) -> Object:
    """Waits until the candidate has taken over or was refused; returns the service."""

    def look() -> Object | None:
        service = kubectl.get("dsvc", "demo")
        ready = condition(service, "Ready")
        current = ready["observedGeneration"] == service["metadata"]["generation"]
        return service if current and ready["reason"] in {"Serving", "RolledBack"} else None

    return eventually(look, within=DECIDED_WITHIN, every=0.5, what="an end of the trial")


def try_candidate(kubectl: Kubectl, steps: int, p50: str) -> tuple[Object, Object]:
    """Makes a gated change; returns the service and the candidate's load test at its end."""
    change = {"generation": {"steps": steps}, "rollout": gate(p50)}
    kubectl.patch("dsvc", "demo", {"spec": change})
    eventually(lambda: ready_reason(kubectl) == "Gating", what="the trial")
    service = decided(kubectl)
    (test,) = [each for each in kubectl.list("lt") if each["metadata"]["name"] != "ramp"]
    assert test["spec"]["url"] == f"http://demo-preview.{kubectl.namespace}.svc"
    gone = (("deployment", "demo-candidate"), ("service", "demo-preview"))
    eventually(
        lambda: not any(kubectl.find(*each) for each in gone),
        what="the candidate to go",
    )
    return service, test


def test_a_candidate_beyond_its_objective_takes_no_traffic(kubectl: Kubectl, load: Load) -> None:
    before = kubectl.status("dsvc", "demo")["revision"]
    service, test = try_candidate(kubectl, 5, "1ms")
    assert condition(test, "SLOMet")["status"] == "False"
    assert condition(service, "Ready")["reason"] == "RolledBack"
    assert service["status"]["revision"] == before
    for pod in kubectl.list("pods", OF_SERVICE):
        assert pod["metadata"]["labels"]["diffusion.dev/revision"] == before


def test_a_candidate_within_its_objective_takes_over(kubectl: Kubectl, load: Load) -> None:
    before = kubectl.status("dsvc", "demo")["revision"]
    service, test = try_candidate(kubectl, 6, "30s")
    valid = condition(test, "Valid")
    assert condition(test, "SLOMet")["status"] == "True"
    # No candidate may take over if the machine is too busy for valid figures.
    assert valid["status"] == "True" or valid["reason"] == "ClientSaturated", valid
    taken = service["status"]["revision"] != before
    assert taken == (valid["status"] == "True"), service["status"]


def test_a_revision_that_never_gets_ready_gives_way_to_the_last_good_one(
    kubectl: Kubectl, load: Load
) -> None:
    before = kubectl.status("dsvc", "demo")["revision"]
    nowhere = {"model": {"source": "image:///models/nowhere"}, "rollout": {"gate": None}}
    kubectl.patch("dsvc", "demo", {"spec": nowhere})
    eventually(
        lambda: ready_reason(kubectl) == "ModelLoadFailed", within=TRIED_WITHIN, what="the failure"
    )
    eventually(
        lambda: ready_reason(kubectl) == "RolledBack", within=TRIED_WITHIN, what="the rollback"
    )
    status = kubectl.status("dsvc", "demo")
    assert status["revision"] == before != status["failedRevision"]
    assert "/models/nowhere" in condition({"status": status}, "Ready")["message"]
    assert status["lastFailure"]["exitCode"] == 78
    kubectl.patch("dsvc", "demo", {"spec": {"model": {"source": "image:///models/demo"}}})
    wait_until_ready(kubectl)


def test_replicas_are_added_for_queued_requests_and_finish_theirs_when_they_end(
    kubectl: Kubectl, load: Load
) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": 2, "targetQueuedPerReplica": 1}
    kubectl.patch("dsvc", "demo", {"spec": {"autoscaling": scaling}})
    # A replica carries a batch of eight and its queue.
    crowd = {"stages": [{"users": 24, "duration": "3600s"}], "spawnRate": "24"}
    kubectl.apply(load_test("crowd", users=crowd))

    def ready() -> int:
        return int(kubectl.status("dsvc", "demo")["readyReplicas"])

    eventually(lambda: ready() == 2, within=TRIED_WITHIN, every=0.5, what="a second replica")
    assert kubectl.get("dsvc", "demo")["spec"]["replicas"] == 1
    busy = Load(kubectl, "crowd")
    busy.goes_on(20)
    kubectl.patch("dsvc", "demo", {"spec": {"autoscaling": {"maxReplicas": 1}}})
    eventually(
        lambda: len(kubectl.list("pods", OF_SERVICE)) == 1,
        within=TRIED_WITHIN,
        every=0.5,
        what="one replica to go",
    )
    busy.goes_on(20)
    busy.assert_none_failed()
    kubectl.delete("lt", "crowd")


def test_where_no_gpu_is_spare_replicas_are_replaced_one_by_one(
    cluster: Kubectl, kubectl: Kubectl, load: Load, gpus: None
) -> None:
    two: Object = {"autoscaling": None, "gpu": {"type": "standin"}, "replicas": 2}
    with stand_in_gpus(cluster, 2):
        kubectl.patch("dsvc", "demo", {"spec": two})
        wait_until_ready(kubectl)
        before = kubectl.status("dsvc", "demo")["revision"]
        kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 3}}})

        def way() -> str:
            return str(condition(kubectl.get("dsvc", "demo"), "Progressing")["reason"])

        eventually(
            lambda: way() == "RollingOutInPlace", within=TRIED_WITHIN, what="the way of the rollout"
        )
        wait_until_ready(kubectl)
        assert kubectl.status("dsvc", "demo")["revision"] != before
        load.goes_on()
