"""Comparisons on a real node: real services, one after another, under real load."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from in_cluster import OperatorPod, StandIn
from kubectl import Kubectl, condition, eventually
from manifests import API_VERSION

Object = dict[str, Any]
EXAMPLE = Path(__file__).parents[2] / "examples" / "comparison.yaml"

PLAIN: Object = {"name": "plain"}
TWIN: Object = {"name": "twin"}
# The work is so little that 200 ms stand out even on busy cores.
SMALL: Object = {
    "steps": 1,
    "width": 64,
    "height": 64,
    "guidanceScale": "2",
    "scheduler": "ddim",
}
# Python imports this at its start; from then on each request is 200 ms late.
LATE = """
import asyncio
from starlette.applications import Starlette

answered = Starlette.__call__


async def late(self, scope, receive, send):
    if scope.get("path") == "/predict":
        await asyncio.sleep(0.2)
    await answered(self, scope, receive, send)


Starlette.__call__ = late
"""
# One core for the server leaves the other one to the load test. The request is small: on a node
# without room for a surge pod, the services of other tests would be down during their rollouts.
SERVER: Object = {
    "name": "server",
    "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
    # No request is left when a variant's pods end.
    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
}
# A step is long enough to leave the cores to the load test, and short beside the 200 ms of LATE.
STEP_SECONDS = "0.03"


def handicapped(server: Object) -> Object:
    """A variant whose server answers 200 ms late."""
    container = {
        **server,
        "env": [*server["env"], {"name": "PYTHONPATH", "value": "/late:/app"}],
        "volumeMounts": [{"name": "late", "mountPath": "/late"}],
    }
    volumes = [{"name": "late", "configMap": {"name": "late"}}]
    pod = {"containers": [container], "volumes": volumes}
    return {"name": "late", "service": {"podTemplate": {"spec": pod}}}


def pods_of(server: Object) -> Object:
    """The pod template of a service whose pods end soon."""
    return {"spec": {"containers": [server], "terminationGracePeriodSeconds": 2}}


def comparison(server: Object, *variants: Object) -> Object:
    """A Comparison with four users, time for a 95th percentile, and three repetitions."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Comparison",
        "metadata": {"name": "study"},
        "spec": {
            "service": {
                "backend": "fastapi",
                "model": {"source": "image:///models/demo"},
                "generation": SMALL,
                "podTemplate": pods_of(server),
            },
            "variants": list(variants),
            "loadTest": {
                # The slower variant answers 16 requests/s; a 95th percentile needs 59 of them.
                "users": {"spawnRate": "8", "stages": [{"users": 4, "duration": "10s"}]},
                "warmup": {"requests": 5},
            },
            "repetitions": 3,
            "cooldown": "0s",
        },
    }


def over(kubectl: Kubectl, name: str = "study", within: float = 840) -> Object:
    """Waits until the Comparison has ended, and returns its status."""

    def look() -> Object | None:
        status = kubectl.status("cmp", name)
        return status if status.get("state") in {"Complete", "Failed"} else None

    # Each look takes CPU time from the processes that are measured.
    return eventually(look, within=within, every=3, what=f"{name} to end")


def too_busy(status: Object) -> bool:
    """Whether the client could not keep up because the cores were busy."""
    return any(row["reason"] == "ClientSaturated" for row in status["results"])


def shown(status: Object) -> str:
    """The parts of the status that a failed assertion shows."""
    return json.dumps([status.get("conclusion"), status.get("results"), status.get("runs")])


def assert_it_says_what_it_could_not_measure(status: Object) -> None:
    assert status["state"] == "Complete", shown(status)
    assert status["recommended"] == "", shown(status)
    late = [row for row in status["results"] if row["reason"]]
    assert all("rank" not in row and row["message"] for row in late), shown(status)


def assert_the_late_one_is_last_and_separated(kubectl: Kubectl, status: Object) -> None:
    assert status["state"] == "Complete", shown(status)
    *equals, last = status["results"]
    assert (last["variant"], last["rank"]) == ("late", len(status["results"])), shown(status)
    for row in equals:
        assert float(last["requestsPerSecond"]["high"]) < float(row["requestsPerSecond"]["low"])
    assert condition(kubectl.get("cmp", "study"), "Comparable")["status"] == "True", shown(status)


def assert_none_of_the_twins_is_recommended(status: Object) -> None:
    assert status["state"] == "Complete", shown(status)
    assert status["recommended"] == "", shown(status)
    first = {row["variant"] for row in status["results"] if row.get("rank", 0) in {1, 2}}
    assert first == {"plain", "twin"}, shown(status)
    assert "is not separated from" in status["conclusion"], shown(status)


def assert_rows_are_filled(status: Object, rounds: int = 3) -> None:
    for row in status["results"]:
        assert row["runs"] == rounds, shown(status)
        assert row["failures"] == 0, shown(status)
        for figure in ("requestsPerSecond", "p50", "p95", "efficiency", "coldStartSeconds"):
            interval = row[figure]
            assert (
                0 < float(interval["low"]) <= float(interval["mean"]) <= float(interval["high"])
            ), row
        assert row["tax"]["denoise"] > 0
        assert row["memoryBytes"] > 0


@pytest.fixture
def server(stand_in: StandIn) -> Object:
    """The container of the compared services."""
    return stand_in.container(step_seconds=STEP_SECONDS, **SERVER)


def compare_with_a_late_one(kubectl: Kubectl, server: Object, *others: Object) -> None:
    kubectl("create", "configmap", "late", f"--from-literal=sitecustomize.py={LATE}")
    kubectl.apply(comparison(server, handicapped(server), *others))


@pytest.mark.timeout(1800)
def test_a_handicap_is_found_and_no_twin_recommended_though_the_operator_is_killed_in_the_middle(
    kubectl: Kubectl, operator: OperatorPod, server: Object
) -> None:
    compare_with_a_late_one(kubectl, server, PLAIN, TWIN)
    # On a busy machine a repetition has up to three attempts.
    eventually(
        lambda: kubectl.status("cmp", "study").get("progress", "0/9") >= "2/9",
        within=600,
        every=1,
        what="the second repetition",
    )
    operator.kill()
    status = over(kubectl)
    assert status["progress"] == "9/9", shown(status)
    assert kubectl.list("dsvc") == []
    names = {test["metadata"]["name"] for test in kubectl.list("lt")}
    # An attempt without valid figures has a load test of its own.
    assert names >= {run["loadTest"] for run in status["runs"] if run["state"] == "Complete"}
    if too_busy(status):
        assert_it_says_what_it_could_not_measure(status)
        return
    assert_the_late_one_is_last_and_separated(kubectl, status)
    assert_none_of_the_twins_is_recommended(status)
    assert_rows_are_filled(status)


def measured(kubectl: Kubectl) -> Object:
    """The status at the end of the Comparison, repeated once if the cores were busy."""
    status = over(kubectl)
    if not too_busy(status):
        return status
    assert_it_says_what_it_could_not_measure(status)
    made = kubectl.get("cmp", "study")
    kubectl("delete", "cmp", "study", "--cascade=foreground")
    kubectl.apply(
        {key: made[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "study"}}
    )
    status = over(kubectl)
    assert not too_busy(status), f"both tries were on busy cores: {shown(status)}"
    return status


@pytest.mark.full
@pytest.mark.parametrize("time", range(5))
def test_a_hidden_handicap_is_found_each_time(kubectl: Kubectl, server: Object, time: int) -> None:
    compare_with_a_late_one(kubectl, server, PLAIN)
    assert_the_late_one_is_last_and_separated(kubectl, measured(kubectl))


@pytest.mark.full
@pytest.mark.parametrize("time", range(5))
def test_of_two_identical_variants_none_is_recommended_any_time(
    kubectl: Kubectl, server: Object, time: int
) -> None:
    kubectl.apply(comparison(server, PLAIN, TWIN))
    assert_none_of_the_twins_is_recommended(measured(kubectl))


@pytest.mark.full
def test_the_example_compares_all_backends(kubectl: Kubectl, operator: OperatorPod) -> None:
    kubectl.apply(yaml.safe_load(EXAMPLE.read_text()))
    for turn in range(1, 6):
        eventually(
            lambda turn=turn: kubectl.status("cmp", "frameworks").get("progress") == f"{turn}/15",  # type: ignore[misc]
            within=300,
            every=1,
            what=f"turn {turn}",
        )
        operator.kill()
    status = over(kubectl, "frameworks", within=1200)
    assert status["state"] == "Complete", shown(status)
    assert len(status["results"]) == 3
    assert_rows_are_filled(status, rounds=5)
