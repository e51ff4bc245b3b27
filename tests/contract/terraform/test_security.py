"""Nothing that checkov finds insecure, but what says in place why it is meant."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from checkers import checkov
from terraform_offline.workspace import Workspace


def findings(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Checks by result: passed_checks, failed_checks, skipped_checks."""
    command = [str(checkov()), "--directory", str(folder), "--framework", "terraform"]
    command += ["--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    results: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)["results"]
    return results


@pytest.fixture(scope="module")
def found(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    return findings(workspace.folder / "terraform")


def test_nothing_is_found(found: dict[str, list[dict[str, Any]]]) -> None:
    assert len(found["passed_checks"]) > 50, "too few checks ran to show anything"
    failed = [f"{each['check_id']} {each['resource']}" for each in found["failed_checks"]]
    assert failed == []


def test_each_exception_says_why(found: dict[str, list[dict[str, Any]]]) -> None:
    for each in found["skipped_checks"]:
        reason = each["check_result"]["suppress_comment"]
        assert len(reason.split()) > 8, f"{each['check_id']} of {each['resource']}: {reason}"


def test_an_open_bucket_is_found(broken: Workspace) -> None:
    main = broken.directory("modules/storage") / "main.tf"
    text = main.read_text()
    main.write_text(text.replace('"enforced"', '"inherited"'))
    failed = findings(main.parent)["failed_checks"]
    assert "CKV_GCP_114" in {each["check_id"] for each in failed}
