"""Alert rules parse, query only existing metrics, and have a runbook each."""

import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from metric_names import NAME, known_names

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_is_a_comparison_of_existing_metrics(rule: dict[str, Any]) -> None:
    parsed = promql_parser.parse(rule["expr"])
    assert isinstance(parsed, promql_parser.BinaryExpr)
    names = set(NAME.findall(rule["expr"])) - {"diffusion_dev_service"}
    assert names
    assert names <= known_names()
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_each_alert_has_its_runbook_and_no_runbook_lacks_its_alert() -> None:
    titles = re.findall(r"^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    assert titles == [rule["alert"] for rule in rules()]
    for rule in rules():
        page, _, heading = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / page).is_file()
        assert heading == rule["alert"].lower()
