"""Several operators on one cluster: one writes, another takes over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl import Kubectl, eventually
from manifests import diffusion_service
from operator_metrics import told
from operator_process import STARTED, OperatorProcess
from played import children
from ports import free_port

LEASE = "operators"
TAKEN_OVER_WITHIN = 15.0


@pytest.fixture
def ports() -> tuple[int, int]:
    """Where the two tell of themselves."""
    return free_port(), free_port()


@pytest.fixture
def pair(
    kubectl: Kubectl, tmp_path: Path, ports: tuple[int, int]
) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """The one that leads and the one that stands by, looking after the test's namespace alone."""
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
    assert standby.said(STARTED) == 0
    leader.kill()
    kubectl.apply(diffusion_service("later"))
    eventually(
        lambda: standby.said(STARTED) == 1,
        within=TAKEN_OVER_WITHIN,
        what="its first word as the leader",
    )
    eventually(lambda: children(kubectl, "later"), what="the later children")


def test_a_leader_that_ends_leaves_the_lease_to_the_other_at_once(
    alone: None, kubectl: Kubectl, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, standby = pair
    assert leader.stop() == 0
    assert "holderIdentity" not in kubectl.get("lease", LEASE)["spec"] or standby.said(STARTED)
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children")


def test_a_leader_that_loses_its_lease_ends_rather_than_write_beside_another(
    alone: None, kubectl: Kubectl, pair: tuple[OperatorProcess, OperatorProcess]
) -> None:
    leader, _ = pair
    kubectl.patch("lease", LEASE, {"spec": {"holderIdentity": "someone-else"}})
    eventually(lambda: leader.said("the Lease was lost"), what="the loss to be noticed")
    assert leader.wait() == 0


def test_each_tells_prometheus_whether_it_leads_and_what_it_has_done(
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
    assert told(leads, "diffusion_operator_leader") == 1
    assert told(stands_by, "diffusion_operator_leader") == 0
    kubectl.apply(diffusion_service())
    eventually(lambda: kubectl.status("dsvc", "demo"), what="the status")
    eventually(lambda: told(leads, done[0], **done[1]) >= 1, what="a look that is done")
    assert told(leads, counted[0], **counted[1]) >= 1
    assert 0 < told(leads, taken[0], **taken[1]) < TAKEN_OVER_WITHIN
    assert told(stands_by, done[0]) == told(stands_by, counted[0]) == 0
    leader.stop()
    eventually(
        lambda: told(stands_by, "diffusion_operator_leader") == 1,
        within=TAKEN_OVER_WITHIN,
        what="the other to lead",
    )
    eventually(lambda: told(stands_by, done[0], **done[1]) >= 1, what="a look of the other's")
