"""A synced DiffusionService as a GitOps tool sees it, after the operator's work."""

from pathlib import Path

import pytest

from argocd_health import CUSTOMIZATIONS, ROOT, health
from kubectl import Kubectl, eventually
from operator_process import OperatorProcess
from played import make_pods_ready

MANIFEST = ROOT / "deploy" / "argocd" / "services" / "demo.yaml"
AS_ARGO_CD = ("--server-side", "--field-manager=argocd-controller", "-f", str(MANIFEST))
CHECK = CUSTOMIZATIONS / "diffusion.dev" / "DiffusionService" / "health.lua"


@pytest.fixture
def synced(kubectl: Kubectl, operator: OperatorProcess) -> Kubectl:
    kubectl("apply", *AS_ARGO_CD)
    eventually(lambda: kubectl.status("dsvc", "demo").get("conditions"), what="a status")
    return kubectl


def test_a_synced_service_shows_no_diff(synced: Kubectl) -> None:
    make_pods_ready(synced)
    assert synced("diff", *AS_ARGO_CD) == ""


def test_children_of_a_synced_service_have_no_tracking_label_of_the_tool(synced: Kubectl) -> None:
    tracking = {"app.kubernetes.io/instance": "diffusion-services"}
    synced.label("dsvc", "demo", tracking)
    make_pods_ready(synced)
    labels = synced.get("deployment", "demo")["metadata"]["labels"]
    assert not tracking.items() <= labels.items()


def test_its_health_follows_the_rollout(synced: Kubectl, tmp_path: Path) -> None:
    assert health(CHECK, synced.get("dsvc", "demo"), tmp_path)["status"] == "Progressing"
    make_pods_ready(synced)
    assert health(CHECK, synced.get("dsvc", "demo"), tmp_path)["status"] == "Healthy"
