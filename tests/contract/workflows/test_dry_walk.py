"""Each workflow, walked step by step for the events that start it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dry_walk.machine import FRESH, ROOT, git
from dry_walk.walk import Walk
from image_build.inputs import IMAGES
from published_images import reference

REGISTRY = "us-central1-docker.pkg.dev/team-diffusion-prod/prod"
VARIABLES = {
    "STATE_BUCKET": "state",
    "WORKLOAD_IDENTITY_PROVIDER": "projects/1/locations/global/workloadIdentityPools/p/providers/g",
    "PLAN_SERVICE_ACCOUNT": "ci-plan@team-diffusion-prod.iam.gserviceaccount.com",
    "DEPLOY_SERVICE_ACCOUNT": "ci-deploy@team-diffusion-prod.iam.gserviceaccount.com",
    "TEST_PROJECT_ID": "team-diffusion-test",
}


@pytest.fixture
def world() -> dict[str, Any]:
    """The cloud after the guide's steps 3 and 4: a state, and a registry without images."""
    made = copy.deepcopy(FRESH)
    made["objects"] = {"state/prod/default.tfstate": "2026-11-30T00:00:00+0000"}
    made["outputs"] = {
        "registry": REGISTRY,
        "commit": "",
        "cluster": "t-feature-1234",
        "location": "us-central1-a",
    }
    return made


def event(origin: Path, name: str, ref: str = "refs/heads/main", **more: Any) -> dict[str, Any]:
    """The contexts of an event in a repository whose owner's name has capitals."""
    github = {
        "event_name": name,
        "ref": ref,
        "ref_name": ref.removeprefix("refs/heads/"),
        "sha": git(origin, "rev-parse", "main"),
        "repository": "Octocat/diffusion",
        "repository_owner": "Octocat",
        "actor": "octocat",
        "token": "token",
        "head_ref": "",
        "event": {},
    }
    secrets = {"GITHUB_TOKEN": "token"}
    return {"github": github | more, "vars": VARIABLES, "secrets": secrets}


def pull_request(origin: Path, repository: str = "Octocat/diffusion") -> dict[str, Any]:
    head = {"head": {"repo": {"full_name": repository}}}
    more = {"head_ref": "feature", "event": {"pull_request": head, "label": {"name": "x"}}}
    return event(origin, "pull_request", "refs/pull/7/merge", **more)


def walk(folder: Path, origin: Path, world: dict[str, Any], context: dict[str, Any]) -> Walk:
    return Walk(folder / f"walk-{len(list(folder.iterdir()))}", origin, world, context)


def test_main_is_built_tested_planned_applied_and_pinned_once(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    context = event(origin, "push")
    first = walk(tmp_path, origin, world, context)
    results = first.run("deploy.yaml")
    assert set(results.values()) == {"success"}, first.log
    assert len(world["tags"]) == len(IMAGES)
    assert all(tag.startswith("ghcr.io/octocat/diffusion-") for tag in world["tags"])
    for image in IMAGES:
        on_arm = image.target in {"operator", "loadtest"}
        platforms = ["linux/amd64", "linux/arm64"] if on_arm else ["linux/amd64"]
        assert world["platforms"][reference("ghcr.io/octocat", image)] == platforms
    assert len(world["verified"]) == len(IMAGES)
    assert sum(image.startswith(f"{REGISTRY}/") for image in world["images"]) == len(IMAGES)
    pinned = git(origin, "show", "main:deploy/argocd/operator/images.yaml")
    assert f"operator: {REGISTRY}/diffusion-operator@sha256:" in pinned
    assert "ghcr.io" not in pinned, "nodes have no secret for it"

    # The same content again: nothing is built, and the digests stay.
    again = walk(tmp_path, origin, world, context)
    assert set(again.run("deploy.yaml").values()) == {"success"}, again.log
    assert len(world["tags"]) == len(IMAGES)
    assert git(origin, "show", "main:deploy/argocd/operator/images.yaml") == pinned


def test_an_older_run_is_stopped_before_it_plans(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    late = event(origin, "push")
    late["github"]["sha"] = git(origin, "rev-list", "--max-parents=0", "main")
    newer = git(origin, "commit-tree", "main^{tree}", "-p", late["github"]["sha"], "-m", "newer")
    git(origin, "update-ref", "refs/heads/main", newer)
    world["outputs"]["commit"] = newer
    run = walk(tmp_path, origin, world, late)
    results = run.run("deploy.yaml")
    assert (results["plan"], results["apply"], results["pin"]) == ("failure", "skipped", "skipped")
    assert any("newer than" in line for line in run.log)
    assert world["applies"] == 0


@pytest.mark.parametrize("broken", ["bash .ci/run", "make test-terraform"])
def test_nothing_is_applied_without_the_tests(
    tmp_path: Path, origin: Path, world: dict[str, Any], broken: str
) -> None:
    run = walk(tmp_path, origin, world, event(origin, "push"))
    run.broken = broken
    results = run.run("deploy.yaml")
    assert (results["test"], results["apply"]) == ("failure", "skipped")
    assert world["applies"] == 0


def test_a_plan_that_something_else_overtook_is_not_applied(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    run = walk(tmp_path, origin, world, event(origin, "push"))
    run.broken = "terraform apply"
    assert run.run("deploy.yaml")["apply"] == "failure"
    plan = run.folder / "artifacts" / "prod-plan" / "plan"
    assert json.loads(plan.read_text())["serial"] == world["objects"]["state/prod/default.tfstate"]


def test_a_pull_request_plans_the_images_that_main_would_run(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    run = walk(tmp_path, origin, world, pull_request(origin))
    results = run.run("deploy.yaml")
    assert results["plan"] == "success", run.log
    assert {results[name] for name in ("test", "images", "apply", "pin")} == {"skipped"}
    inputs = run.folder / "machine-1/checkout/terraform/environments/prod/images.auto.tfvars.json"
    images = json.loads(inputs.read_text())["images"]
    assert images["operator"].startswith(f"{REGISTRY}/diffusion-operator:")
    assert world["tags"] == [], "a plan builds nothing"


def test_a_forks_pull_request_is_not_planned(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    run = walk(tmp_path, origin, world, pull_request(origin, "hubot/diffusion"))
    assert set(run.run("deploy.yaml").values()) == {"skipped"}
    assert run.machines == 0


BRANCH = "refs/heads/feature"
STATE = "state/test/feature/default"


def test_a_test_environment_measures_and_leaves_nothing(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    run = walk(tmp_path, origin, world, event(origin, "workflow_dispatch", BRANCH))
    assert set(run.run("test-environment.yaml").values()) == {"success"}, run.log
    assert all(tag.startswith("ghcr.io/octocat/branches/") for tag in world["tags"])
    assert world["destroyed"] == ["state/test/feature"]
    assert not [each for each in world["objects"] if each.startswith("state/test/")]
    assert (run.folder / "artifacts" / "comparison-report" / "frameworks.html").exists()


def test_a_failed_comparison_is_destroyed_and_reported(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    run = walk(tmp_path, origin, world, event(origin, "workflow_dispatch", BRANCH))
    run.broken = "kubectl wait"
    results = run.run("test-environment.yaml")
    assert (results["compare"], results["destroy"]) == ("failure", "success"), run.log
    assert world["destroyed"] == ["state/test/feature"]
    assert (run.folder / "artifacts" / "comparison-report" / "events.txt").exists()


def test_the_lock_of_a_cancelled_run_is_broken(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    world["objects"] |= {
        f"{STATE}.{kind}": "2026-11-30T00:00:00+0000" for kind in ("tfstate", "tflock")
    }
    run = walk(tmp_path, origin, world, event(origin, "workflow_dispatch", BRANCH))
    assert run.run("destroy-test.yaml", {"branch": "feature"}) == {"destroy": "success"}, run.log
    assert world["destroyed"] == ["state/test/feature"]


def test_the_reaper_destroys_what_is_old_and_spares_the_rest(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    labels = {"environment": "test"}
    place = {"location": "us-central1-a", "resourceLabels": labels}
    world["objects"] |= {
        "state/test/old/branch/default.tfstate": "2026-01-01T00:00:00+0000",
        "state/test/new/default.tfstate": "2999-01-01T00:00:00+0000",
    }
    world["clusters"] = [
        place | {"name": "t-lost", "createTime": "2026-01-01T00:00:00+00:00"},
        place | {"name": "t-new", "createTime": "2999-01-01T00:00:00+00:00"},
    ]
    run = walk(tmp_path, origin, world, event(origin, "schedule"))
    assert set(run.run("reap.yaml").values()) == {"success"}, run.log
    assert world["destroyed"] == ["state/test/old/branch"]
    assert [each["name"] for each in world["clusters"]] == ["t-new"]


def test_the_reaper_has_nothing_to_do_without_environments(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    run = walk(tmp_path, origin, world, event(origin, "schedule"))
    results = run.run("reap.yaml")
    assert results == {"list": "success", "destroy": "skipped", "clusters": "success"}, run.log


def test_a_release_tags_what_main_has_built_and_builds_nothing(
    tmp_path: Path, origin: Path, world: dict[str, Any]
) -> None:
    tag = f"v{yaml.safe_load((ROOT / 'deploy/chart/Chart.yaml').read_text())['version']}"
    context = event(origin, "push", f"refs/tags/{tag}")
    context["github"]["ref_name"] = tag
    early = walk(tmp_path, origin, world, context)
    assert early.run("release.yaml")["release"] == "failure"
    assert any("CHANGELOG.md has no section" in line for line in early.log)

    work = tmp_path / "work"
    git(tmp_path, "clone", "--quiet", str(origin), str(work))
    changes = work / "CHANGELOG.md"
    changes.write_text(changes.read_text().replace("[Unreleased]", f"[{tag[1:]}] - 2026-12-01"))
    git(work, "commit", "--quiet", "--all", "--message", "The release")
    git(work, "push", "--quiet", "origin", "main")
    world["tags"] = [reference("ghcr.io/octocat", image) for image in IMAGES]
    run = walk(tmp_path, origin, world, context)
    assert run.run("release.yaml")["release"] == "success", run.log
    assert len(world["verified"]) == len(IMAGES)
    assert world["images"][-1] == "oci://ghcr.io/octocat/charts"
    assert len(world["images"]) == len(IMAGES) + 1
    values = yaml.safe_load(
        (run.folder / "machine-4/checkout/packed/diffusion-operator/values.yaml").read_text()
    )
    assert values["images"]["operator"].startswith("ghcr.io/octocat/diffusion-operator@sha256:")
