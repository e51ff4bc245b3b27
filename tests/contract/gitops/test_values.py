"""The chart's values for placement, names, accounts and users' rights, as Helm renders them."""

from collections.abc import Callable
from typing import Any

import pytest

Object = dict[str, Any]
Render = Callable[..., list[Object]]
CLUSTER = {"ClusterRole", "ClusterRoleBinding"}


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def test_usual_values_reach_the_operators_pods(template: Render) -> None:
    (deployment,) = of_kind(
        template(
            *("--set-json", 'affinity={"podAntiAffinity": {}}'),
            *("--set-json", 'extraEnv=[{"name": "HTTPS_PROXY", "value": "http://proxy:1"}]'),
            *("--set-json", 'podSecurityContext={"runAsUser": null, "runAsGroup": null}'),
            *("--set", "podLabels.team=vision,podAnnotations.note=x,priorityClassName=high"),
            *("--set", "serviceAccount.create=false,serviceAccount.name=theirs"),
        ),
        "Deployment",
    )
    metadata, pod = (
        deployment["spec"]["template"]["metadata"],
        deployment["spec"]["template"]["spec"],
    )
    assert metadata["labels"]["team"] == "vision"
    assert metadata["annotations"]["note"] == "x"
    assert pod["affinity"] == {"podAntiAffinity": {}}
    assert pod["priorityClassName"] == "high"
    assert pod["serviceAccountName"] == "theirs"
    assert pod["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    (variable,) = pod["containers"][0]["env"]
    assert variable["name"] == "HTTPS_PROXY"


def test_an_account_of_someone_else_is_bound_and_not_made(template: Render) -> None:
    theirs = ("--set", "serviceAccount.create=false,serviceAccount.name=theirs")
    for more in ((), ("--set", "watchNamespaces={a}")):
        objects = template(*theirs, *more)
        assert of_kind(objects, "ServiceAccount") == []
        bindings = of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding")
        subjects = [each["name"] for binding in bindings for each in binding["subjects"]]
        assert set(subjects) == {"theirs"}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("nameOverride=sd", "diffusion-operator-sd"),
        ("fullnameOverride=painter", "painter"),
        ("replicas=1", "diffusion-operator"),
    ],
)
def test_names_follow_the_overrides(template: Render, value: str, name: str) -> None:
    objects = template("--set", value, "--set", "crds.install=false")
    assert all(each["metadata"]["name"].startswith(name) for each in objects)
    (deployment,) = of_kind(objects, "Deployment")
    assert (
        f"--lease=diffusion-system/{name}"
        in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    )


def test_releases_of_one_name_in_two_namespaces_share_no_object_of_the_cluster(
    template: Render,
) -> None:
    without_crds = ("--set", "crds.install=false")
    names = [
        {
            each["metadata"]["name"]
            for each in template(*without_crds, "--namespace", namespace)
            if each["kind"] in CLUSTER
        }
        for namespace in ("one", "two")
    ]
    assert names[0]
    assert names[0].isdisjoint(names[1])


def test_an_operator_of_some_namespaces_has_no_object_of_the_cluster_but_on_demand(
    template: Render,
) -> None:
    some = ("--set", "watchNamespaces={a}", "--set", "crds.install=false")
    assert not [each for each in template(*some) if each["kind"] in CLUSTER]
    roles = of_kind(template(*some, "--set", "userRoles.create=true"), "ClusterRole")
    labels = {label for each in roles for label in each["metadata"]["labels"]}
    assert {f"rbac.authorization.k8s.io/aggregate-to-{role}" for role in ("view", "edit")} <= labels
    assert not of_kind(template("--set", "userRoles.create=false"), "ClusterRole")[1:]


def test_several_operators_have_a_disruption_budget(template: Render) -> None:
    assert len(of_kind(template(), "PodDisruptionBudget")) == 1
    for value in ("replicas=1", "podDisruptionBudget.enabled=false"):
        assert of_kind(template("--set", value), "PodDisruptionBudget") == []
