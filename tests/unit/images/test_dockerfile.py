"""Properties that every change of the Dockerfile must keep."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from image_build.buildah import Buildah
from image_build.inputs import DEFAULT_BASE, IMAGES, Image, shared_stage
from image_build.locks import LAYERS

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.target)


@dataclass(frozen=True)
class Stage:
    parent: str
    steps: tuple[tuple[str, str], ...]


def read() -> dict[str, Stage]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "images/Dockerfile").read_text(), flags=re.MULTILINE)
    text = text.replace("\\\n", " ")
    stages: dict[str, Stage] = {}
    for block in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]:
        first, *lines = [line for line in block.splitlines() if line.strip()]
        parent, name = first.split(" AS ")
        steps = tuple((line.split()[0], line.split(maxsplit=1)[1]) for line in lines)
        stages[name.strip()] = Stage(parent, steps)
    return stages


def chain(target: str) -> list[tuple[str, str]]:
    """The steps of `target` and of its parents, the parents' first."""
    stages = read()
    steps: list[tuple[str, str]] = []
    while target in stages:
        steps = [*stages[target].steps, *steps]
        target = stages[target].parent
    return steps


@PUBLISHED
def test_an_image_runs_as_the_user_without_rights(image: Image) -> None:
    users = [rest for step, rest in chain(image.target) if step == "USER"]
    assert users == ["65532:65532"]


@PUBLISHED
def test_an_image_starts_its_program_without_a_shell(image: Image) -> None:
    entry_points = [rest for step, rest in chain(image.target) if step in {"ENTRYPOINT", "CMD"}]
    assert len(entry_points) == 1
    assert entry_points[0].startswith('["python", "-m", ')


@PUBLISHED
def test_every_file_that_an_image_copies_from_the_project_counts_for_its_tag(image: Image) -> None:
    copied = {
        source
        for step, rest in chain(image.target)
        if step == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == set(image.sources)


@PUBLISHED
def test_an_image_installs_its_slices_of_the_lock_lowest_first(image: Image) -> None:
    installed = re.findall(r"/tools/install\.py (\w+)", str(chain(image.target)))
    assert tuple(installed) == LAYERS[image.target]


@PUBLISHED
def test_code_comes_after_all_packages(image: Image) -> None:
    steps = chain(image.target)
    last_install = max(i for i, (_, rest) in enumerate(steps) if "/tools/install.py" in rest)
    first_code = min(i for i, (_, rest) in enumerate(steps) if rest.startswith(image.sources))
    assert last_install < first_code


def test_every_installed_package_is_checked_against_hashes() -> None:
    steps = [rest for stage in read().values() for _, rest in stage.steps]
    installs = [rest for rest in steps if re.search(r"pip\b.* install\b", rest)]
    assert installs
    # test_install.py checks the options that /tools/install.py gives to uv.
    assert all("--require-hashes" in rest for rest in installs)
    assert not [rest for rest in steps if re.search(r"\b(curl|wget|apt-get)\b", rest)]


def test_no_step_uses_add() -> None:
    assert not [rest for stage in read().values() for step, rest in stage.steps if step == "ADD"]


def test_steps_that_download_mount_the_machines_certificates() -> None:
    steps = [rest for stage in read().values() for _, rest in stage.steps]
    downloading = [
        rest for rest in steps if re.search(r"pip\b.* install\b|python3 /tools/install\.py", rest)
    ]
    assert len(downloading) == 1 + len({layer for layers in LAYERS.values() for layer in layers})
    for rest in downloading:
        assert "--mount=type=secret,id=ca," in rest


def test_no_step_keeps_a_cache_that_no_later_one_reads() -> None:
    assert not [
        rest for stage in read().values() for _, rest in stage.steps if "type=cache" in rest
    ]


@PUBLISHED
def test_a_shared_stage_is_a_parent_of_its_images(image: Image) -> None:
    stage, parents = image.target, []
    while stage in (stages := read()):
        parents.append(stage := stages[stage].parent)
    assert shared_stage(image) is None or shared_stage(image) in parents


class Prepares(Buildah):
    """A fake buildah whose `prepare` records the targets and runs no build."""

    def __init__(self, cache: Path) -> None:  # without the check for root and buildah
        self.running = cache / "running"
        self.scratch = cache / "tmp"
        self.targets: list[str] = []

    def _build(self, target: str, base: str, *options: str, dockerfile: str = "") -> None:  # noqa: ARG002
        self.targets.append(target)


def test_a_stage_with_several_children_is_built_before_the_images(tmp_path: Path) -> None:
    """Parallel builds would each create the stage, without each other's layers in the cache."""
    parents = [stage.parent for stage in read().values()]
    branching = {stage for stage in read() if parents.count(stage) > 1}
    assert branching == {"runtime", "serving"}
    engine = Prepares(tmp_path)
    engine.prepare(DEFAULT_BASE)
    assert {*engine.targets, *map(shared_stage, IMAGES)} >= branching


def test_images_with_torch_share_a_stage() -> None:
    assert {image.target for image in IMAGES if shared_stage(image)} == {
        image.target for image in IMAGES if "torch" in LAYERS[image.target]
    }


def test_the_scripts_default_base_is_the_dockerfiles() -> None:
    assert f"\nARG BASE={DEFAULT_BASE}\n" in (ROOT / "images/Dockerfile").read_text()


def test_every_source_lies_within_the_build_context() -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for image in IMAGES:
        for source in image.sources:
            assert any(f"{source}/".startswith(f"{path}/") for path in allowed), source


GKE_DRIVER = "/usr/local/nvidia/lib64"
"""The folder of the driver in a pod with a GPU.

The source is cloud.google.com/kubernetes-engine/docs/how-to/gpus, on the CUDA libraries: GKE's
device plugin mounts them there and tells the image's author to add the folder to LD_LIBRARY_PATH.
"""


@PUBLISHED
def test_a_serving_image_looks_for_the_driver_where_gke_mounts_it(image: Image) -> None:
    variables = dict(
        pair.split("=", 1)
        for step, rest in chain(image.target)
        if step == "ENV"
        for pair in rest.split()
    )
    folders = variables.get("LD_LIBRARY_PATH", "").split(":")
    assert (GKE_DRIVER in folders) is (shared_stage(image) is not None)


def test_the_minimum_driver_of_the_locked_cuda_is_written_down() -> None:
    """A new CUDA in the lock needs a line of the table, and a look at the clouds' drivers."""
    lock = (ROOT / "requirements.lock").read_text()
    cuda = re.search(r"^nvidia-cuda-runtime==(\d+)\.", lock, re.MULTILINE)
    assert cuda is not None
    table = re.findall(
        r"^\| CUDA (\d+) \| (\d+)", (ROOT / "images" / "README.md").read_text(), re.MULTILINE
    )
    drivers = dict(table)
    assert int(drivers[cuda[1]]) >= 580
    assert f"driver {drivers[cuda[1]]}" in (ROOT / "docs" / "gke.md").read_text()
