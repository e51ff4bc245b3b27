"""Releases: one version everywhere, and a chart whose defaults are what was released."""

import shutil
from pathlib import Path

import pytest
import yaml

from release import ROOT, ReleaseError, check, notes, values

DIGEST = f"sha256:{'a' * 64}"
REGISTRY = "ghcr.io/octocat"
IMAGES = {
    "operator": f"{REGISTRY}/diffusion-operator@{DIGEST}",
    "loadtest": f"{REGISTRY}/diffusion-loadtest@{DIGEST}",
    **{
        each: f"{REGISTRY}/diffusion-serving-{each}@{DIGEST}"
        for each in ("fastapi", "litserve", "rayserve")
    },
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The version's places, with a changelog of that version."""
    (tmp_path / "deploy" / "chart").mkdir(parents=True)
    for name in ("pyproject.toml", "deploy/chart/Chart.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changes\n\n## {version()}\n\n- first\n\n## 0.0.1\n")
    return tmp_path


def version() -> str:
    chart = yaml.safe_load((ROOT / "deploy" / "chart" / "Chart.yaml").read_text())
    return str(chart["version"])


def test_a_tag_of_another_version_is_refused(root: Path) -> None:
    check(f"v{version()}", root)
    with pytest.raises(ReleaseError, match=r"pyproject.toml is .*change them first"):
        check("v9.9.9", root)


def test_the_notes_are_the_versions_own(root: Path) -> None:
    assert notes(f"v{version()}", root) == "- first\n"
    with pytest.raises(ReleaseError, match="no section"):
        notes("v0.0.1", root)


def test_the_released_chart_pulls_what_was_released() -> None:
    text = (ROOT / "deploy" / "chart" / "values.yaml").read_text()
    released = yaml.safe_load(values(text, IMAGES, REGISTRY))
    before = yaml.safe_load(text)
    assert released["registry"] == REGISTRY
    backends = released["images"].pop("backends")
    assert released["images"] | backends == IMAGES
    del released["registry"], released["images"], before["registry"], before["images"]
    assert released == before


def test_a_line_that_the_values_lack_is_refused() -> None:
    with pytest.raises(ReleaseError, match="no line for operator"):
        values("registry: x\n", IMAGES, REGISTRY)
