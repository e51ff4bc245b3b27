"""Several operators on one cluster: one writes, another takes over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl import Kubectl, eventually
from manifests import diffusion_service
from operator_metrics import metric_value
from operator_process import STARTED, OperatorProcess
from played import children
from ports import free_port

LEASE = "operators"
TAKEN_OVER_WITHIN = 15.0


@pytest.fixture
def ports() -> tuple[int, int]:
    """The metrics ports of the two operators."""
    return free_port(), free_port()


@pytest.fixture
def pair(
    kubectl: Kubectl, tmp_path: Path, ports: tuple[int, int]
) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """The leader and the standby, both for the test's namespace only."""
    options = (f"--lease={kubectl.namespace}/{LEASE}", f"--namespace={kubectl.namespace}")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    leader, standby = (
        OperatorProcess(kubectl.kubeconfig, tmp_path / name, *options, f"--metrics-port={port}")
        for name, port in zip(("first", "second"), ports, strict=True)
    )
    try:
        leader.start()
        standby.start(until="standing by")
        yield leader, standby
    finally:
        leader.kill()
        standby.kill()
    assert "Traceback" not in leader.log.read_text() + standby.log.read_text()


def test_a_killed_leader_is_followed_by_the_one_that_stands_by(
    alone: None, kubectl: Kubectl, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, standby = pair
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children")
    assert standby.count_in_log(STARTED) == 0
    leader.kill()
    kubectl.apply(diffusion_service("later"))
    eventually(
        lambda: standby.count_in_log(STARTED) == 1,
        within=TAKEN_OVER_WITHIN,
        what="the standby to lead",
    )
    eventually(lambda: children(kubectl, "later"), what="the later children")


def test_a_leader_that_ends_leaves_the_lease_to_the_other_at_once(
    alone: None, kubectl: Kubectl, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, standby = pair
    assert leader.stop() == 0
    assert "holderIdentity" not in kubectl.get("lease", LEASE)["spec"] or standby.count_in_log(
        STARTED
    )
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children")


def test_a_leader_that_loses_its_lease_ends_rather_than_write_beside_another(
    alone: None, kubectl: Kubectl, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, _ = pair
    kubectl.patch("lease", LEASE, {"spec": {"holderIdentity": "someone-else"}})
    eventually(lambda: leader.count_in_log("the Lease was lost"), what="the loss to be noticed")
    assert leader.wait() == 0


def test_metrics_show_which_operator_leads_and_its_reconciles(
    alone: None,
    kubectl: Kubectl,
    pair: tuple[OperatorProcess, OperatorProcess],
    ports: tuple[int, int],
) -> None:
    leader, _ = pair
    leads, stands_by = ports
    done = ("diffusion_operator_reconciles_total", {"kind": "DiffusionService", "outcome": "done"})
    counted = ("diffusion_operator_reconcile_seconds_count", {"kind": "DiffusionService"})
    taken = ("diffusion_operator_reconcile_seconds_sum", {"kind": "DiffusionService"})
    assert metric_value(leads, "diffusion_operator_leader") == 1
    assert metric_value(stands_by, "diffusion_operator_leader") == 0
    release = f"{kubectl.namespace}/{LEASE}"
    claim = kubectl.get("lease", f"{LEASE}.{kubectl.namespace}.claim")
    assert claim["spec"]["holderIdentity"] == release  # other releases see it
    kubectl.apply(diffusion_service())
    eventually(lambda: kubectl.status("dsvc", "demo"), what="the status")
    eventually(lambda: metric_value(leads, done[0], **done[1]) >= 1, what="a completed reconcile")
    assert metric_value(leads, counted[0], **counted[1]) >= 1
    assert 0 < metric_value(leads, taken[0], **taken[1]) < TAKEN_OVER_WITHIN
    assert metric_value(stands_by, done[0]) == metric_value(stands_by, counted[0]) == 0
    leader.stop()
    eventually(
        lambda: metric_value(stands_by, "diffusion_operator_leader") == 1,
        within=TAKEN_OVER_WITHIN,
        what="the other to lead",
    )
    eventually(
        lambda: metric_value(stands_by, done[0], **done[1]) >= 1, what="a reconcile of the other"
    )
