import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from image_build.inputs import AMD64, ARM64, IMAGES, tag

ROOT = Path(__file__).resolve().parents[3]
BASE = "example.org/python:3.11"
INSTALL = "images/image_build/install.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the project's own recipe and lock, and small files for code and weights."""
    recipe = ("pyproject.toml", "requirements.lock", "images/Dockerfile", "images/tools.lock")
    for name in (*recipe, INSTALL, ".dockerignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for image in IMAGES:
        for source in image.sources:
            (tmp_path / source / "inner").mkdir(parents=True, exist_ok=True)
            (tmp_path / source / "__init__.py").write_text("x = 1\n")
            (tmp_path / source / "inner" / "data.bin").write_bytes(b"\0\1")
    return tmp_path


def tags(root: Path, base: str = BASE) -> dict[str, str]:
    return {image.target: tag(root, image, base) for image in IMAGES}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


SERVING = {"fastapi", "litserve", "rayserve"}
ALL = {"operator", "loadtest", *SERVING}
CODE = "operator/diffusion_operator"


@pytest.mark.parametrize(
    ("change", "retagged"),
    [
        (lambda root: (root / CODE / "__init__.py").write_text("x = 2\n"), {"operator"}),
        (lambda root: (root / CODE / "new.py").touch(), {"operator"}),
        (lambda root: (root / CODE / "__init__.py").unlink(), {"operator"}),
        (lambda root: (root / CODE / "inner").rename(root / CODE / "other"), {"operator"}),
        (lambda root: (root / CODE / "__init__.py").chmod(0o755), {"operator"}),
        (lambda root: (root / "loadtest/diffusion_loadtest/new").touch(), {"loadtest"}),
        (lambda root: (root / "images/demo_model/weights/new").touch(), SERVING),
        (lambda root: (root / "serving/diffusion_serving/new").touch(), SERVING),
        (lambda root: (root / "images/Dockerfile").open("a").write("#\n"), ALL),
        (lambda root: (root / ".dockerignore").open("a").write("#\n"), ALL),
        (lambda root: (root / "images/tools.lock").open("a").write("#\n"), ALL),
        (lambda root: (root / INSTALL).open("a").write("#\n"), ALL),
        (lambda root: replace(root / "pyproject.toml", 'version = "', 'version = "9.'), ALL),
        (lambda root: replace(root / "requirements.lock", "\ntorch==", "\ntorch==9."), SERVING),
        (lambda root: replace(root / "requirements.lock", "\nray==", "\nray==9."), {"rayserve"}),
        (lambda root: replace(root / "requirements.lock", "\nkopf==", "\nkopf==9."), {"operator"}),
        (lambda root: replace(root / "requirements.lock", "\nruff==", "\nruff==9."), set()),
        (lambda root: replace(root / "pyproject.toml", "line-length", "# line-length"), set()),
        (lambda root: os.utime(root / CODE / "__init__.py", (1, 1)), set()),
        (lambda root: (root / CODE / "__pycache__").mkdir(), set()),
        (lambda root: (root / "README.md").touch(), set()),
    ],
)
def test_a_tag_changes_with_the_inputs_of_its_image_and_with_nothing_else(
    checkout: Path, change: Callable[[Path], object], retagged: set[str]
) -> None:
    before = tags(checkout)
    change(checkout)
    after = tags(checkout)
    assert {target for target in before if before[target] != after[target]} == retagged


def test_another_base_gives_another_tag(checkout: Path) -> None:
    before, after = tags(checkout), tags(checkout, "example.org/python:3.12")
    assert all(before[target] != after[target] for target in before)


def test_a_copy_of_the_checkout_has_the_same_tags(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns("elsewhere"))
    assert tags(copy) == tags(checkout)


def test_content_moved_from_one_file_to_the_next_gives_another_tag(checkout: Path) -> None:
    first, second = checkout / CODE / "a.py", checkout / CODE / "b.py"
    first.write_text("xy")
    second.write_text("z")
    before = tags(checkout)
    first.write_text("x")
    second.write_text("yz")
    assert tags(checkout)["operator"] != before["operator"]


def test_missing_weights_are_named(checkout: Path) -> None:
    shutil.rmtree(checkout / "images/demo_model/weights")
    with pytest.raises(FileNotFoundError, match="demo_model/weights goes into an image"):
        tags(checkout)


def test_an_image_for_more_processors_has_another_tag(checkout: Path) -> None:
    """A registry with an image for amd64 alone would otherwise be taken to hold it."""
    operator = next(image for image in IMAGES if image.target == "operator")
    alone = dataclasses.replace(operator, platforms=(AMD64,))
    assert operator.platforms == (AMD64, ARM64)
    assert tag(checkout, alone, "base") != tag(checkout, operator, "base")
