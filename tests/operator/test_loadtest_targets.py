"""Targets that are disturbed, changed or deleted during a run, or after it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubectl import Kubectl, eventually
from operator_process import OperatorProcess
from played_runner import (
    against_demo,
    finish,
    just_now,
    publish,
    report,
    runner_jobs,
    state,
    status_and_reason,
    stopped,
)

Object = dict[str, Any]


def restart_a_container(kubectl: Kubectl) -> None:
    """Plays the kubelet, which restarts the container of a serving pod."""
    pod = kubectl.list("pods", "diffusion.dev/service=demo")[0]
    container = {
        "name": "server",
        "image": "fastapi:none",
        "imageID": "",
        "ready": True,
        "restartCount": 1,
        "lastState": {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": just_now()}},
    }
    ready = [{"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled")]
    status = {"status": {"conditions": ready, "containerStatuses": [container]}}
    kubectl.patch("pod", pod["metadata"]["name"], status, "--subresource=status")


def scale(kubectl: Kubectl) -> None:
    kubectl.scale("dsvc", "demo", 2)


def change(kubectl: Kubectl) -> None:
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})


@pytest.mark.parametrize(
    ("disturb", "reason"),
    [
        (restart_a_container, "TargetRestarted"),
        (scale, "TargetScaled"),
        (change, "TargetChanged"),
    ],
)
def test_figures_of_a_disturbed_target_are_not_valid(
    kubectl: Kubectl, operator: OperatorProcess, disturb: Any, reason: str
) -> None:
    run = against_demo(kubectl)
    disturb(kubectl)
    eventually(
        lambda: status_and_reason(kubectl, "Valid") == ("False", reason),
        what="the verdict in mid-run",
    )
    status = finish(kubectl, run, completionTime=just_now())
    assert status["state"] == "Complete"
    assert status_and_reason(kubectl, "Valid") == ("False", reason)


def test_an_undisturbed_target_is_valid_and_has_a_fingerprint(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = against_demo(kubectl, replicas=2)
    status = finish(kubectl, run, completionTime=just_now())
    assert status_and_reason(kubectl, "Valid") == ("True", "Measured")
    target = status["target"]
    assert target["revision"] == kubectl.status("dsvc", "demo")["revision"]
    assert target["fingerprint"]["replicas"] == 2
    assert target["fingerprint"]["facts"] == {"device": "cpu", "torch": "2.12.0"}


def test_a_restart_of_the_target_after_the_run_does_not_matter(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = against_demo(kubectl)
    operator.kill()
    ended = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    publish(kubectl, "report.json", report(run, completionTime=ended))
    restart_a_container(kubectl)
    operator.start()
    eventually(lambda: state(kubectl) == "Complete", what="the end")
    assert status_and_reason(kubectl, "Valid") == ("True", "Measured")


def test_a_target_deleted_in_mid_run_ends_the_run_and_its_figures_stay(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = against_demo(kubectl)
    kubectl.delete("dsvc", "demo")
    eventually(
        lambda: status_and_reason(kubectl, "Valid") == ("False", "TargetDeleted"),
        what="the verdict",
    )
    eventually(lambda: not runner_jobs(kubectl), what="the load to be stopped")
    publish(kubectl, "report.json", stopped(run))
    eventually(lambda: state(kubectl) == "Failed", what="the end")
    assert status_and_reason(kubectl, "Failed") == ("True", "TargetDeleted")
    assert kubectl.status("lt", "ramp")["summary"]["requests"] == 200
