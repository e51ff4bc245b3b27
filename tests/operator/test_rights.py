"""The operator with rights in some namespaces only."""

import time
from pathlib import Path

import pytest

from kubectl import Kubectl, KubectlError, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import have_ready
from rights import denied, done_by
from service_account import chart, kubeconfig_of_the_operator


def test_with_rights_in_one_namespace_it_serves_that_one_and_asks_for_no_more(
    alone: None, kubectl: Kubectl, tmp_path: Path
) -> None:
    mine = kubectl.namespace
    objects = chart("of-one", mine, f"watchNamespaces={{{mine}}}")
    assert {each["kind"] for each in objects} == {"ServiceAccount", "Role", "RoleBinding"}
    kubeconfig = kubeconfig_of_the_operator(kubectl, objects, tmp_path)
    operator = OperatorProcess(
        kubeconfig, tmp_path, f"--lease={mine}/of-one", f"--namespace={mine}"
    )
    begun = time.time()
    operator.start()
    try:
        have_ready(kubectl, diffusion_service())
    finally:
        operator.stop()
    log = Path(kubectl.kubeconfig).parent / "logs" / "audit.log"
    events = list(done_by(f"system:serviceaccount:{mine}:of-one", [log], since=begun))
    assert events
    assert denied(events) == set()


def test_a_namespace_that_is_gone_keeps_no_other_from_being_served(
    alone: None, kubectl: Kubectl, tmp_path: Path
) -> None:
    mine, gone = kubectl.namespace, f"{kubectl.namespace}-gone"
    objects = chart("of-two", mine, f"watchNamespaces={{{mine}}}")
    kubeconfig = kubeconfig_of_the_operator(kubectl, objects, tmp_path)
    operator = OperatorProcess(kubeconfig, tmp_path, f"--namespace={mine}", f"--namespace={gone}")
    operator.start()
    try:
        have_ready(kubectl, diffusion_service())
        assert operator.count_in_log(f"namespace {gone} can't be watched") == 1
    finally:
        operator.stop()


@pytest.mark.parametrize(
    ("role", "verb", "allowed"),
    [
        ("view", "list", True),
        ("view", "create", False),
        ("edit", "create", True),
        ("edit", "get", True),
        ("admin", "delete", True),
    ],
)
def test_kubernetes_own_roles_hold_for_the_kinds(
    kubectl: Kubectl, operator: OperatorProcess, role: str, verb: str, *, allowed: bool
) -> None:
    kubectl("create", "rolebinding", "dev", f"--clusterrole={role}", "--user=dev")

    def can(kind: str) -> bool:
        question = ("auth", "can-i", verb, f"{kind}.diffusion.dev", "--as=dev")
        try:
            return kubectl(*question).strip() == "yes"
        except KubectlError:  # kubectl's exit code for no
            return False

    for kind in ("diffusionservices", "loadtests", "comparisons"):
        if allowed:
            eventually(lambda kind=kind: can(kind), what=f"{role} to {verb} {kind}")  # type: ignore[misc] # bound now
        else:
            assert not can(kind)
