"""docs/gke.md, walked from the first command to the last against stand-ins."""

import copy
import json
from pathlib import Path

import pytest

from dry_walk.guide import script
from dry_walk.machine import FRESH, ROOT, Machine
from image_build.inputs import IMAGES

BUILD = f"""import json, sys
names = {{image: f"{{image}}:0123456789abcdef" for image in {[each.target for each in IMAGES]}}}
print(json.dumps(names) if "--json" in sys.argv else "")
"""
"""Takes the place of the program that builds images for half an hour."""


@pytest.fixture
def machine(tmp_path: Path, origin: Path) -> Machine:
    """A person's machine with the guide's programs, and nothing in the cloud yet."""
    world = copy.deepcopy(FRESH)
    world["outputs"] = {
        "registry": "europe-west4-docker.pkg.dev/team-diffusion-prod/prod",
        "cluster": "prod",
        "location": "europe-west4",
    }
    made = Machine(tmp_path / "machine", origin, world)
    made.install("terraform")
    (made.checkout / "images" / "build.py").write_text(BUILD)
    (made.bin / "curl").write_text("#!/bin/sh\nexit 0\n")
    (made.bin / "curl").chmod(0o755)
    return made


def test_every_command_works_in_the_guides_order(machine: Machine) -> None:
    commands = script(ROOT / "docs" / "gke.md").replace("REGION=us-central1", "REGION=europe-west4")

    done = machine.run(commands, {}, machine.checkout)

    assert done.returncode == 0, done.stderr[-2000:]
    prod = machine.checkout / "terraform" / "environments" / "prod"
    inputs = (prod / "prod.auto.tfvars").read_text()
    assert 'project_id = "team-diffusion-prod"' in inputs
    assert inputs.count("europe-west4") == 4
    assert "us-central1" not in inputs
    images = json.loads((prod / "images.auto.tfvars.json").read_text())["images"]
    assert set(images["backends"]) | set(images) - {"backends"} == {each.target for each in IMAGES}

    # The limits reach the bootstrap, and nobody commits them.
    limits = machine.checkout / "terraform" / "bootstrap" / "limits.auto.tfvars"
    assert 'project_number = "123456789012"' in limits.read_text()
    assert "000000-000000-000000" in limits.read_text()

    # The bootstrap's own state is in a bucket that CI gets no role on.
    places = {Path(root).name: place for root, place in machine.world["roots"].items()}
    bucket = places["bootstrap"].partition("/")[0]
    assert bucket != places["prod"].partition("/")[0]
    given = [each for each in machine.world["calls"] if "-var state_bucket=" in each]
    assert given
    assert not any(f"state_bucket={bucket}" in each for each in given)
