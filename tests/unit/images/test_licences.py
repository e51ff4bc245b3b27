"""The images carry their licences, and the notice knows NVIDIA's."""

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

from image_build.inputs import IMAGES, Image
from image_build.locks import LAYERS, slices

ROOT = Path(__file__).resolve().parents[3]
NOTICE = (ROOT / "NOTICE").read_text()
DOCKERFILE = (ROOT / "images" / "Dockerfile").read_text()
INSTALLED = {re.sub(r"[-_.]+", "-", each.name).lower(): each for each in distributions()}
PUBLISHED = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.target)


def packages(image: Image) -> set[str]:
    """The names of the image's packages; those of other systems, which it lacks, are left out."""
    lock = (ROOT / "requirements.lock").read_text()
    cut = slices((ROOT / "pyproject.toml").read_text(), lock)
    return {
        name
        for layer in LAYERS[image.target]
        for name in re.findall(r"^([-\w.]+)==", cut[layer], re.MULTILINE)
        if name in INSTALLED
    }


def licence(name: str) -> str:
    """The licence by the package's own metadata; empty if they name none."""
    metadata = INSTALLED[name].metadata
    fields = ("License-Expression", "License", "Classifier")
    lines = [line for field in fields for line in metadata.get_all(field) or []]
    return " ".join(line for line in lines if "::" not in line or line.startswith("License ::"))


def is_nvidias(name: str) -> bool:
    return "NVIDIA" in licence(name)


def stage(image: Image) -> str:
    return DOCKERFILE.split(f"AS {image.target}\n", 1)[1].split("\nFROM ", 1)[0]


@PUBLISHED
def test_an_image_holds_licence_and_notice(image: Image) -> None:
    assert "COPY LICENSE NOTICE /licenses/" in stage(image)


def test_the_notice_lists_the_packages_of_nvidia_and_no_other() -> None:
    every = set.union(*(packages(image) for image in IMAGES))
    listed = set(re.findall(r"\bnvidia-[-\w]+", NOTICE))
    assert listed == {name for name in every if is_nvidias(name)}
    assert listed


@PUBLISHED
def test_the_label_names_nvidias_licence_where_its_libraries_are(image: Image) -> None:
    (label,) = re.findall(r'image\.licenses="(.*?)"', stage(image))
    assert ("NVIDIA" in label) == any(is_nvidias(name) for name in packages(image))


def test_a_package_without_a_licence_file_names_its_licence() -> None:
    licences = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)
    for name in set.union(*(packages(image) for image in IMAGES)):
        files = INSTALLED[name].files or []
        held = any(licences.search(str(each)) for each in files)
        assert held or licence(name) or name in NOTICE, name
