"""Images copied to an environment's own registry."""

import json
import os
import subprocess
import sys
from pathlib import Path

from promote_images import promoted, variable

ROOT = Path(__file__).parents[3]
DIGEST = f"sha256:{'a' * 64}"
BUILT = {
    "operator": f"ghcr.io/team/diffusion-operator@{DIGEST}",
    "loadtest": f"ghcr.io/team/diffusion-loadtest@{DIGEST}",
    "fastapi": f"ghcr.io/team/diffusion-serving-fastapi@{DIGEST}",
}
REGISTRY = "europe-west4-docker.pkg.dev/team/prod"


def run(
    folder: Path, built: dict[str, str], docker: str, *options: str
) -> subprocess.CompletedProcess[str]:
    """Runs the program with a fake `docker`, which writes its arguments to docker.log."""
    stand_in = folder / "docker"
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> {folder}/docker.log\n{docker}\n')
    stand_in.chmod(0o755)
    (folder / "built.json").write_text(json.dumps(built))
    command = [sys.executable, "deploy/promote_images.py", *options]
    command += [f"{folder}/built.json", REGISTRY]
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_an_image_keeps_its_name_and_digest() -> None:
    assert promoted(BUILT["operator"], REGISTRY) == f"{REGISTRY}/diffusion-operator@{DIGEST}"


def test_each_image_has_the_key_that_terraform_reads() -> None:
    images = variable(BUILT)["images"]
    assert images["operator"] == BUILT["operator"]
    assert images["backends"] == {"fastapi": BUILT["fastapi"]}


def test_images_are_copied_by_digest(tmp_path: Path) -> None:
    done = run(tmp_path, BUILT, '[ "$3" = create ]')
    assert done.returncode == 0, done.stderr
    images = json.loads(done.stdout)["images"]
    assert images["operator"] == f"{REGISTRY}/diffusion-operator@{DIGEST}"
    calls = (tmp_path / "docker.log").read_text()
    tag = f"{REGISTRY}/diffusion-operator:{'a' * 16}"
    assert f"buildx imagetools create --tag {tag} {BUILT['operator']}" in calls
    assert calls.count("imagetools create") == len(BUILT)


def test_an_image_that_the_registry_has_is_not_copied(tmp_path: Path) -> None:
    done = run(tmp_path, BUILT, "exit 0")
    assert done.returncode == 0, done.stderr
    assert "imagetools create" not in (tmp_path / "docker.log").read_text()


def test_a_copy_that_fails_fails_the_step(tmp_path: Path) -> None:
    done = run(tmp_path, BUILT, "exit 1")
    assert done.returncode == 1
    assert done.stdout == ""


def test_an_image_by_tag_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, BUILT | {"operator": "ghcr.io/team/diffusion-operator:latest"}, "exit 0")
    assert done.returncode == 1
    assert "name the image by its digest" in done.stderr
    assert not (tmp_path / "docker.log").exists()


def test_a_plan_gets_the_names_and_copies_nothing(tmp_path: Path) -> None:
    unbuilt = {"operator": "ghcr.io/team/diffusion-operator:0123456789abcdef"}
    done = run(tmp_path, BUILT | unbuilt, "exit 1", "--names")
    assert done.returncode == 0, done.stderr
    images = json.loads(done.stdout)["images"]
    assert images["operator"] == f"{REGISTRY}/diffusion-operator:0123456789abcdef"
    assert images["loadtest"] == f"{REGISTRY}/diffusion-loadtest@{DIGEST}"
    assert not (tmp_path / "docker.log").exists()
