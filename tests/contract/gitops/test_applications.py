"""The app of apps: the Application of every wave, and the objects that it would apply."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pin_images import values
from promote_images import variable

ROOT = Path(__file__).parents[3]
ARGOCD = ROOT / "deploy" / "argocd"
WAVE = "argocd.argoproj.io/sync-wave"
Render = Callable[..., list[dict[str, Any]]]


def _applications(kustomize: Render) -> dict[str, dict[str, Any]]:
    objects = kustomize("deploy/argocd/apps")
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == "Application"}


def test_definitions_come_before_the_operator_before_services_before_load_tests(
    kustomize: Render,
) -> None:
    applications = _applications(kustomize)
    waves = {
        name: int(each["metadata"]["annotations"][WAVE]) for name, each in applications.items()
    }
    order = ["diffusion-crds", "diffusion-operator", "diffusion-services", "diffusion-load-tests"]
    assert sorted(waves, key=lambda name: waves[name]) == order
    assert len(set(waves.values())) == len(order)


def test_all_come_from_the_one_source(kustomize: Render) -> None:
    source = yaml.safe_load((ARGOCD / "apps" / "source.yaml").read_text())["data"]
    root = yaml.safe_load((ARGOCD / "root.yaml").read_text())["spec"]["source"]
    assert root["repoURL"] == source["repoURL"]
    for each in _applications(kustomize).values():
        assert each["spec"]["source"]["repoURL"] == source["repoURL"]
        assert each["spec"]["source"]["targetRevision"] == source["targetRevision"]
    assert not [each for each in kustomize("deploy/argocd/apps") if each["kind"] == "ConfigMap"]


def test_each_points_at_something_that_is_there(kustomize: Render) -> None:
    for each in _applications(kustomize).values():
        source = each["spec"]["source"]
        folder = ROOT / source["path"]
        assert list(folder.glob("*.yaml")), folder
        for file in source.get("helm", {}).get("valueFiles", []):
            assert (folder / file).is_file(), file


def test_the_project_allows_their_namespaces_and_source_only(kustomize: Render) -> None:
    objects = kustomize("deploy/argocd/apps")
    (project,) = [each for each in objects if each["kind"] == "AppProject"]
    allowed = {each["namespace"] for each in project["spec"]["destinations"]}
    used = {each["spec"]["destination"]["namespace"] for each in _applications(kustomize).values()}
    assert used == allowed
    assert project["spec"]["sourceRepos"] == [
        yaml.safe_load((ARGOCD / "apps" / "source.yaml").read_text())["data"]["repoURL"]
    ]


def test_the_project_allows_every_cluster_wide_object(kustomize: Render, template: Render) -> None:
    objects = kustomize("deploy/argocd/apps")
    (project,) = [each for each in objects if each["kind"] == "AppProject"]
    allowed = {
        (each["group"], each["kind"]) for each in project["spec"]["clusterResourceWhitelist"]
    }
    made = {
        (each["apiVersion"].rpartition("/")[0], each["kind"])
        for each in template("--include-crds", "--set", "monitoring.podMonitorings.enabled=true")
        if "namespace" not in each["metadata"]
    }
    assert made <= allowed


def test_a_failed_sync_is_tried_again_for_longer_than_a_node_takes(kustomize: Render) -> None:
    """Argo CD tries an automated sync of one commit five times at most, unless told otherwise.

    The source of the delays: argo-cd, pkg/apis/application/v1alpha1, RetryStrategy.NextRetryAt.
    """
    root = yaml.safe_load((ARGOCD / "root.yaml").read_text())
    units = {"s": 1, "m": 60}
    for each in (root, *_applications(kustomize).values()):
        retry = each["spec"]["syncPolicy"]["retry"]
        first, most = (
            int(retry["backoff"][name][:-1]) * units[retry["backoff"][name][-1]]
            for name in ("duration", "maxDuration")
        )
        factor = retry["backoff"]["factor"]
        delays = [min(first * factor**attempt, most) for attempt in range(retry["limit"])]
        assert sum(delays) > 3600, each["metadata"]["name"]


def test_definitions_are_never_pruned(kustomize: Render) -> None:
    automated = _applications(kustomize)["diffusion-crds"]["spec"]["syncPolicy"]["automated"]
    assert automated["prune"] is False


def test_the_operators_values_leave_definitions_to_their_own_wave(template: Render) -> None:
    folder = ARGOCD / "operator"
    objects = template("--values", folder / "values.yaml", "--values", folder / "images.yaml")
    kinds = {each["kind"] for each in objects}
    assert "Deployment" in kinds
    assert "CustomResourceDefinition" not in kinds


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def _pin_a_child(clone: Path, digest: str) -> None:
    """Pins the images of the newest commit, as a later run has done."""
    newest = _git(clone, "rev-parse", "HEAD").strip()
    images = {"operator": f"r.example/o@{digest}", "loadtest": f"r.example/l@{digest}"}
    (clone / "deploy/argocd/operator/images.yaml").write_text(values(images, newest))
    _git(clone, "add", "deploy/argocd/operator/images.yaml")
    _git(clone, "commit", "--quiet", "--message", "Images of a later run")
    _git(clone, "push", "--quiet", "origin", "HEAD:main")


def test_a_commit_of_the_workflows_makes_the_operator_run_what_was_built(
    template: Render, tmp_path: Path
) -> None:
    """Runs the workflow's own step in a clone of a repository with the files that it changes."""
    digest = f"sha256:{'5' * 64}"
    targets = ("operator", "loadtest", "fastapi", "litserve", "rayserve")
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    _git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", str(origin))
    _git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    _git(clone, "checkout", "--quiet", "-B", "main")
    shutil.copytree(ROOT / "deploy", clone / "deploy", symlinks=True)
    _git(clone, "add", "deploy")
    _git(clone, "commit", "--quiet", "--message", "the state before")
    registry = "europe-west4-docker.pkg.dev/team/prod"
    built = {target: f"{registry}/diffusion-{target}@{digest}" for target in targets}
    (clone / "promoted").mkdir()
    (clone / "promoted" / "promoted.json").write_text(json.dumps(variable(built)))
    head = _git(clone, "rev-parse", "HEAD").strip()
    _git(clone, "push", "--quiet", "origin", "main")
    deploy = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yaml").read_text())
    (script,) = [each["run"] for each in deploy["jobs"]["pin"]["steps"] if "run" in each]

    environment = {"PATH": os.environ["PATH"], "GITHUB_SHA": head}
    subprocess.run(["bash", "-euc", script], cwd=clone, env=environment, check=True)
    # An older run that comes late changes nothing: the root commit is older than what is pinned.
    _pin_a_child(clone, digest)
    before = _git(origin, "rev-parse", "main")
    subprocess.run(["bash", "-euc", script], cwd=clone, env=environment, check=True)
    assert _git(origin, "rev-parse", "main") == before
    _git(clone, "reset", "--quiet", "--hard", "HEAD~1")
    _git(clone, "push", "--quiet", "--force", "origin", "HEAD:main")

    changed = _git(origin, "diff", "--name-only", "main~1", "main").split()
    assert changed == ["deploy/argocd/operator/images.yaml"]
    images = tmp_path / "images.yaml"
    images.write_text(_git(origin, "show", f"main:{changed[0]}"))
    objects = template("--values", ARGOCD / "operator" / "values.yaml", "--values", images)
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == built["operator"]
    (settings,) = [each for each in objects if each["metadata"]["name"].endswith("-settings")]
    held = json.loads(settings["data"]["settings.json"])["images"]
    assert held["loadtest"] == built["loadtest"]
    assert held["backends"] == {target: built[target] for target in targets[2:]}


def test_argo_cd_is_taught_each_check_under_its_key(kustomize: Render) -> None:
    (config,) = kustomize("deploy/argocd")
    assert (config["metadata"]["name"], config["metadata"]["namespace"]) == ("argocd-cm", "argocd")
    checks = {
        f"{each.parents[1].name}_{each.parent.name}": each.read_text()
        for each in (ARGOCD / "resource_customizations").glob("*/*/health.lua")
    }
    prefix = "resource.customizations.health."
    assert config["data"] == {f"{prefix}{kind}": script for kind, script in checks.items()}


def written(objects: list[dict[str, Any]]) -> list[str]:
    """The objects as JSON with sorted keys, sorted."""
    return sorted(json.dumps(each, sort_keys=True) for each in objects)


def test_the_kustomize_base_is_the_chart(kustomize: Render, template: Render) -> None:
    made = template("--set", "crds.install=false")
    base = kustomize("deploy/kustomize/base")
    assert base[0]["kind"] == "Namespace"
    assert written(base[1:]) == written(made), "run `make kustomize`"


def test_the_operator_that_stands_by_is_on_another_node(template: Render) -> None:
    (operator,) = [each["spec"] for each in template() if each["kind"] == "Deployment"]
    (apart,) = operator["template"]["spec"]["topologySpreadConstraints"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"] == operator["selector"]
    assert apart["whenUnsatisfiable"] == "ScheduleAnyway", "a cluster may have one node only"
