"""The operator's rights: each is used, and none is missing. The check of the whole run is last."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from in_cluster import ROOT
from install import Installed
from kubectl import Kubectl, eventually
from rights import Right, done_by, granted, lacking, used

HERE = Path(__file__).parent
# Rights without a use in the audit log, each with a reason.
HELD = {
    # Admission requires them, since the operator sets owners that block deletion: without them it
    # could create no child (OwnerReferencesPermissionEnforcement).
    *(
        Right("diffusion.dev", f"{plural}/finalizers", "update")
        for plural in ("diffusionservices", "loadtests", "comparisons")
    ),
    # Only GKE has these kinds; the unit tests of the Gateway's policies play them.
    *(
        Right("networking.gke.io", plural, verb)
        for plural in ("healthcheckpolicies", "gcpbackendpolicies")
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    ),
    # An owner that takes over an orphan is read first, and the same admission requires the others.
    Right("diffusion.dev", "comparisons", "get"),
    Right("", "serviceaccounts", "delete"),
    Right("", "configmaps", "delete"),
    Right("rbac.authorization.k8s.io", "roles", "delete"),
    Right("rbac.authorization.k8s.io", "rolebindings", "delete"),
}


@pytest.fixture
def whole_run(request: pytest.FixtureRequest) -> None:
    """Skips unless all tests run: tests that don't run use no rights."""
    if request.config.option.keyword:
        pytest.skip("the rights are checked only when all end-to-end tests run, without -k")
    paths = [Path(each.partition("::")[0]).absolute() for each in request.config.args]
    if not any(HERE.is_relative_to(path) for path in paths):
        pytest.skip("the rights are checked only when the whole folder of end-to-end tests runs")


def test_a_lease_that_is_deleted_is_made_again(cluster: Kubectl, installed: Installed) -> None:
    system = cluster.in_namespace(installed.namespace)
    before = system.get("lease", installed.release)["metadata"]["uid"]
    system("delete", "lease", installed.release)

    def another() -> bool:
        lease = system.find("lease", installed.release)
        return lease is not None and lease["metadata"]["uid"] != before

    eventually(another, what="another Lease")


@pytest.mark.usefixtures("whole_run")
def test_every_right_is_used_and_none_is_missing(
    begun: float, cluster: Kubectl, installed: Installed
) -> None:
    username = f"system:serviceaccount:{installed.namespace}:{installed.release}"
    events = list(done_by(username, audit_logs(), since=begun))
    everywhere = granted(
        cluster.get("clusterrole", f"{installed.release}-{installed.namespace}")["rules"]
    )
    system = cluster.in_namespace(installed.namespace)
    of_lease = granted(system.get("role", f"{installed.release}-lease")["rules"])
    assert (everywhere | of_lease) - used(events) - HELD == set()
    assert lacking(events, everywhere, {installed.namespace: of_lease}) == set()


def audit_logs() -> list[Path]:
    """The API server's audit log, and its rotated files."""
    command = [sys.executable, "-m", "localcluster", "status", "--name", "e2e", "--json"]
    status = json.loads(subprocess.check_output(command, cwd=ROOT))
    log = Path(status["auditLog"])
    return sorted(log.parent.glob(f"{log.stem}*{log.suffix}"))
