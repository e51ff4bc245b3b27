"""Upgrades take over the objects of an earlier release without restarting pods."""

import json
from functools import partial
from typing import Any

import yaml

from kubectl import Kubectl, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import CHILDREN, have_ready, make_pods_ready
from released_children import FOLDER, NAMESPACE, RELEASES, placeholder, with_digest

Object = dict[str, Any]

DIGEST = "diffusion.dev/applied-digest"
MANAGER = "--field-manager=diffusion-operator"
APPLY = ("apply", "--server-side", "--force-conflicts", MANAGER, "-f", "-")
# The operator creates these kinds by a POST, not by an apply.
CREATED = {"ServiceAccount", "Deployment", "Secret"}
RESTARTED = """\
An upgrade from {release} restarts the pods of {name}, which no one has changed.
Either keep the pod as it was (see {file}), or replace the file by the children of the
new release, with the command at its top, and say in the changelog that pods restart."""
REWRITTEN = """\
An upgrade from {release} changes the Deployment of {name}, without a restart of its pods.
Either keep the Deployment as it was (see {file}), or replace the file by the children
of the new release, with the command at its top."""


def identities(kubectl: Kubectl, kinds: tuple[str, ...]) -> dict[str, str]:
    """The uid of each object of the service, by kind and name."""
    return {
        f"{kind}/{each['metadata']['name']}": each["metadata"]["uid"]
        for kind in kinds
        for each in kubectl.list(kind, "diffusion.dev/service=demo")
    }


def as_an_earlier_release_made_it(kubectl: Kubectl) -> None:
    """Applies a different Deployment of the same pods, under the operator's field manager."""
    deployment = kubectl.get("deployment", "demo")
    meta = deployment["metadata"]
    kept = ("name", "namespace", "labels", "ownerReferences")
    # Fields that the API server and kubectl add are left out.
    spec = {**deployment["spec"], "revisionHistoryLimit": 7, "minReadySeconds": 1}
    earlier = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            **{name: meta[name] for name in kept},
            "annotations": {DIGEST: "0123456789"},
        },
        "spec": spec,
    }
    kubectl(*APPLY, stdin=json.dumps(earlier))


def test_a_release_that_changes_nothing_about_the_pods_restarts_none(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service())
    kinds = (*CHILDREN, "replicaset", "pod")
    before = identities(kubectl, kinds)
    operator.stop()
    as_an_earlier_release_made_it(kubectl)
    operator.start()

    def taken_over() -> bool:
        deployment = kubectl.get("deployment", "demo")
        digest = deployment["metadata"]["annotations"][DIGEST]
        seen = deployment["status"].get("observedGeneration")
        return bool(digest != "0123456789" and seen == deployment["metadata"]["generation"])

    eventually(taken_over, what="the Deployment to be this release's")
    assert kubectl.get("deployment", "demo")["spec"]["revisionHistoryLimit"] != 7
    # A field that only the earlier release set is removed.
    assert not kubectl.get("deployment", "demo")["spec"].get("minReadySeconds")
    make_pods_ready(kubectl)
    assert identities(kubectl, kinds) == before


def make(kubectl: Kubectl, child: Object) -> None:
    """Creates or applies the child as the operator does."""
    created = child["kind"] in CREATED
    kubectl(*(("create", MANAGER, "-f", "-") if created else APPLY), stdin=json.dumps(child))


def as_released(kubectl: Kubectl, text: str) -> list[Object]:
    """Makes the services and children of a release; returns the Deployments."""
    documents = list(yaml.safe_load_all(text))
    names = [each["metadata"]["name"] for each in documents if each["kind"] == "DiffusionService"]
    for document in yaml.safe_load_all(text):
        if document["kind"] == "DiffusionService":
            kubectl.apply(document)
    for name in names:
        text = text.replace(placeholder(name), kubectl.get("dsvc", name)["metadata"]["uid"])
    documents = list(yaml.safe_load_all(text))
    for child in documents:
        if child["kind"] != "DiffusionService":
            make(kubectl, with_digest(child))
    return [child for child in documents if child["kind"] == "Deployment"]


def running(kubectl: Kubectl, name: str) -> Object | None:
    """The Deployment's generation, template and pods, or None until it has all pods."""
    deployment = kubectl.get("deployment", name)
    labels = deployment["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = {
        pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in kubectl.list("pods", selector)
    }
    if len(pods) != deployment["spec"]["replicas"]:
        return None
    return {
        "generation": deployment["metadata"]["generation"],
        "template": deployment["spec"]["template"],
        "pods": pods,
    }


def test_pods_of_earlier_releases_keep_running(
    control_plane: Kubectl, operator: OperatorProcess
) -> None:
    files = {file: file.read_text() for file in FOLDER.glob("*.yaml")}
    assert {file.stem for file in files} == set(RELEASES)
    control_plane("create", "namespace", NAMESPACE)
    kubectl = control_plane.in_namespace(NAMESPACE)
    operator.stop()
    made_by = {
        child["metadata"]["name"]: file
        for file, text in files.items()
        for child in as_released(kubectl, text)
    }
    before = {
        name: eventually(partial(running, kubectl, name), what=f"the pods of {name}")
        for name in made_by
    }
    operator.start()
    for name in made_by:
        # The status is written after the children are reconciled.
        status = partial(kubectl.status, "dsvc", name)
        eventually(status, what=f"the status of {name}")
    for name, earlier in before.items():
        file = made_by[name]
        about = {"release": file.stem, "file": file.relative_to(FOLDER.parents[2]), "name": name}
        now = kubectl.get("deployment", name)
        assert now["spec"]["template"] == earlier["template"], RESTARTED.format(**about)
        assert now["metadata"]["generation"] == earlier["generation"], REWRITTEN.format(**about)
        assert running(kubectl, name) == earlier, RESTARTED.format(**about)
