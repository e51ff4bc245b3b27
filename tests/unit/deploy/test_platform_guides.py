"""Values in the guides of other platforms, which the chart's schema accepts."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "chart"
GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("eks", "aks", "rancher")]
SCHEMA = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text()))
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The values that Helm gives the chart: objects are merged, all else is replaced."""
    both = {
        key: merged(values[key], value)
        if isinstance(value, dict) and isinstance(values.get(key), dict)
        else value
        for key, value in more.items()
    }
    return values | both


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_chart_accepts_the_values_of_a_guide(guide: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", guide.read_text(), re.DOTALL)
    values = merged(DEFAULTS, yaml.safe_load(block))
    assert values != DEFAULTS
    assert [str(error) for error in SCHEMA.iter_errors(values)] == []
    for name, entry in values["accelerators"].items():
        entry["runtimeClas"] = "nvidia"
        assert not SCHEMA.is_valid(values), f"a wrong field of {name} is accepted"
        del entry["runtimeClas"]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_each_fact_has_its_source(guide: Path) -> None:
    rows = re.findall(r"^\| (?!fact|---)(.*) \| (.*) \|$", guide.read_text(), re.MULTILINE)
    assert rows
    for fact, source in rows:
        assert re.match(r"[a-z0-9.]+\.[a-z]+/\S+$", source), fact
