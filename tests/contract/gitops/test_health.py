"""Health of the resources in Argo CD, computed by the Lua interpreter that Argo CD embeds.

The files are laid out as in Argo CD's resource_customizations: health_test.yaml, beside
health.lua, lists inputs and the expected health of each.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from argocd_health import CUSTOMIZATIONS, ROOT, health

OWN_KINDS = {"DiffusionService", "LoadTest", "Comparison"}


def cases() -> list[Any]:
    params = []
    for tests in sorted(CUSTOMIZATIONS.glob("*/*/health_test.yaml")):
        for each in yaml.safe_load(tests.read_text())["tests"]:
            name = f"{tests.parent.name}-{Path(each['inputPath']).stem}"
            params.append(pytest.param(tests.parent, each, id=name))
    return params


@pytest.mark.parametrize(("folder", "case"), cases())
def test_a_resource_is_as_healthy_as_it_says(
    folder: Path, case: dict[str, Any], tmp_path: Path
) -> None:
    resource = yaml.safe_load((folder / case["inputPath"]).read_text())
    assert health(folder / "health.lua", resource, tmp_path) == case["healthStatus"]


@pytest.mark.parametrize("folder", sorted(CUSTOMIZATIONS.glob("diffusion.dev/*")))
def test_every_kind_is_tested_healthy_degraded_and_on_its_way(folder: Path) -> None:
    tests = yaml.safe_load((folder / "health_test.yaml").read_text())["tests"]
    outcomes = {each["healthStatus"]["status"] for each in tests}
    assert outcomes == {"Healthy", "Degraded", "Progressing", "Suspended"}
    inputs = {str(each.relative_to(folder)) for each in folder.glob("testdata/*.yaml")}
    assert inputs == {each["inputPath"] for each in tests}


def test_every_kind_has_a_check() -> None:
    assert {each.name for each in CUSTOMIZATIONS.glob("diffusion.dev/*")} == OWN_KINDS
    defined = {
        yaml.safe_load(each.read_text())["spec"]["names"]["kind"]
        for each in (ROOT / "crds").glob("*.yaml")
    }
    assert defined <= OWN_KINDS
