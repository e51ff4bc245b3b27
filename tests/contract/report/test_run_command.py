"""The command ``run`` against a fake API server: its files and its exit codes."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from kubectl_diffusion.__main__ import main
from load_reports import ramp

TEST = "/apis/diffusion.dev/v1alpha1/namespaces/shop/loadtests/ramp"
REPORT = "/api/v1/namespaces/shop/configmaps/r"
RUN_AT = "diffusion.dev/run-at"


def status(run_at: str, slo: str, valid: str) -> dict[str, Any]:
    kinds = {"Complete": "True", "Valid": valid, "SLOMet": slo}
    conditions = [
        {"type": name, "status": value, "reason": "Reason", "message": "p95 is 9 s of 8 s"}
        for name, value in kinds.items()
    ]
    reference = {"name": "r", "key": "report.json"}
    run = {"run": "abc", "runAt": run_at, "state": "Complete"}
    return {**run, "conditions": conditions, "reportRef": reference}


@pytest.mark.parametrize(
    ("slo", "valid", "code"),
    [("True", "True", 0), ("False", "True", 3), ("True", "False", 4)],
)
def test_a_run_ends_with_the_exit_code_of_its_verdict(
    fake_cluster: Any, tmp_path: Path, slo: str, valid: str, code: int
) -> None:
    old = {"metadata": {"name": "ramp", "namespace": "shop"}, "spec": {}}
    fake_cluster.objects[TEST] = {**old, "status": status("before", "True", "True")}
    fake_cluster.objects[REPORT] = {"data": {"report.json": json.dumps(ramp("abc"))}}

    def operator(patched: dict[str, Any]) -> None:
        run_at = patched["metadata"]["annotations"][RUN_AT]
        patched["status"] = status(run_at, slo, valid)

    fake_cluster.patched = operator
    junit, markdown = tmp_path / "junit.xml", tmp_path / "run.md"
    files = ["--junit", str(junit), "--markdown", str(markdown)]
    config = ["--kubeconfig", str(fake_cluster.kubeconfig)]
    assert main(["run", "lt/ramp", "--wait", *files, *config]) == code
    suite = ET.fromstring(junit.read_bytes())[0]  # noqa: S314 # written by the command
    assert (suite.get("failures") != "0") == (code == 3)
    assert (suite.get("errors") != "0") == (code == 4)
    assert "| 1 | 10 users |" in markdown.read_text()


def test_a_missing_folder_and_a_suspended_test_begin_no_run(
    fake_cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_cluster.objects[TEST] = {"metadata": {"name": "ramp"}, "spec": {"suspend": True}}
    config = ["--kubeconfig", str(fake_cluster.kubeconfig)]
    missing = str(tmp_path / "nowhere" / "junit.xml")
    assert main(["run", "lt/ramp", "--wait", "--junit", missing, *config]) == 1
    assert "there is no folder" in capsys.readouterr().err
    assert main(["run", "lt/ramp", "--wait", *config]) == 1
    assert "is suspended" in capsys.readouterr().err
    assert main(["run", "lt/ramp", "--markdown", "run.md", *config]) == 1
    assert "add --wait" in capsys.readouterr().err
    assert "annotations" not in fake_cluster.objects[TEST]["metadata"]
