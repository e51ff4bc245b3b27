"""The alerts fire when they should, as Prometheus' own promtool evaluates them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkers import promtool

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
CASES = Path(__file__).with_name("alerts_test.yaml")


def evaluated(folder: Path, rules: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """The cases, run against these rules."""
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (folder / "cases.yaml").write_text(CASES.read_text())
    command = [str(promtool()), "test", "rules", "cases.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def rules() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return content


def each_rule(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in content["groups"]:
        yield from group["rules"]


def test_each_alert_fires_in_its_minute_and_not_before(tmp_path: Path) -> None:
    done = evaluated(tmp_path, rules())
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    cases = [
        (case["alertname"], bool(case.get("exp_alerts")))
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    names = {each["alert"] for each in each_rule(rules())}
    assert set(cases) == {(name, fires) for name in names for fires in (True, False)}


def _later(rule: dict[str, Any]) -> None:
    rule["for"] = "1d"


def _always(rule: dict[str, Any]) -> None:
    rule |= {"expr": "vector(1)", "for": "0s"}


@pytest.mark.parametrize("change", [_later, _always])
def test_a_rule_that_is_late_or_never_silent_is_noticed(tmp_path: Path, change: Any) -> None:
    wrong = rules()
    for rule in each_rule(wrong):
        change(rule)
    done = evaluated(tmp_path, wrong)
    assert done.returncode != 0
    missed = {each["alert"] for each in each_rule(wrong) if each["alert"] not in done.stderr}
    assert missed == set(), done.stderr
