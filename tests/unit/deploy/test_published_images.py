"""Images that a registry holds, asked with a docker that answers as buildx does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from image_build.inputs import IMAGES
from published_images import reference

ROOT = Path(__file__).parents[3]
REGISTRY = "ghcr.io/team"
DIGEST = f"sha256:{'d' * 64}"


def ask(folder: Path, what: str, held: set[str], refusal: str) -> subprocess.CompletedProcess[str]:
    """Runs the program while the registry holds some targets' images, and refuses others."""
    names = {reference(REGISTRY, each) for each in IMAGES if each.target in held}
    docker = folder / "docker"
    docker.write_text(
        f"""#!{sys.executable}
import json, sys
if sys.argv[4] in {sorted(names)!r}:
    print(json.dumps({{"schemaVersion": 2, "digest": "{DIGEST}"}}))
else:
    sys.exit(f"ERROR: {{sys.argv[4]}}: {refusal}")
"""
    )
    docker.chmod(0o755)
    command = [sys.executable, "deploy/published_images.py", what, REGISTRY]
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_only_what_the_registry_lacks_is_built(tmp_path: Path) -> None:
    held = {each.target for each in IMAGES} - {"operator"}
    done = ask(tmp_path, "missing", held, "not found")
    (image,) = json.loads(done.stdout)
    assert (image["target"], image["name"]) == ("operator", "diffusion-operator")
    assert reference(REGISTRY, IMAGES[0]).endswith(f":{image['tag']}")


def test_nothing_is_built_while_the_registry_gives_no_answer(tmp_path: Path) -> None:
    done = ask(tmp_path, "missing", set(), "unexpected status: 503 Service Unavailable")
    assert done.returncode == 1
    assert "nobody knows" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("refusal", ["not found", "failed to authorize: denied"])
def test_a_package_that_nobody_has_pushed_yet_is_built(tmp_path: Path, refusal: str) -> None:
    done = ask(tmp_path, "missing", set(), refusal)
    assert len(json.loads(done.stdout)) == len(IMAGES)


def test_the_names_are_digests_and_a_missing_image_is_refused(tmp_path: Path) -> None:
    every = {each.target for each in IMAGES}
    images = json.loads(ask(tmp_path, "names", every, "").stdout)
    assert images["fastapi"] == f"{REGISTRY}/diffusion-serving-fastapi@{DIGEST}"
    assert ask(tmp_path, "names", every - {"fastapi"}, "not found").returncode == 1


def test_a_plan_names_an_unbuilt_image_by_its_tag(tmp_path: Path) -> None:
    done = ask(tmp_path, "planned", {"operator"}, "not found")
    images = json.loads(done.stdout)
    assert images["operator"].endswith(DIGEST)
    assert "@" not in images["loadtest"]
    assert images["loadtest"].count(":") == 1
