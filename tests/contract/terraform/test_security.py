"""Checkov finds nothing insecure in the configuration but exceptions with a reason in place."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from checkers import checkov
from terraform_offline.workspace import Workspace

Results = dict[str, list[dict[str, Any]]]
"""Checks by result: passed_checks, failed_checks, skipped_checks."""

OPEN = "modules/storage_open"
"""A copy of a module whose bucket is open to the internet."""


@pytest.fixture(scope="module")
def all_results(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Findings in the configuration and in an open bucket: one run, as checkov starts slowly."""
    copy = workspace.copy(tmp_path_factory.mktemp("checkov"))
    shutil.copytree(copy.directory("modules/storage"), copy.directory(OPEN))
    main = copy.directory(OPEN) / "main.tf"
    text = main.read_text()
    assert '"enforced"' in text
    main.write_text(text.replace('"enforced"', '"inherited"'))
    return findings(copy.folder / "terraform")


def findings(folder: Path) -> Results:
    command = [str(checkov()), "--directory", str(folder), "--framework", "terraform"]
    command += ["--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    results: Results = json.loads(done.stdout)["results"]
    return results


@pytest.fixture(scope="module")
def results(all_results: Results) -> Results:
    """Findings in the configuration alone."""
    return {
        kind: [check for check in checks if not _is_open(check)]
        for kind, checks in all_results.items()
    }


def _is_open(check: dict[str, Any]) -> bool:
    return bool(check["file_path"].startswith(f"/{OPEN}/"))


def test_nothing_is_found(results: Results) -> None:
    assert len(results["passed_checks"]) > 50, "too few checks ran to show anything"
    failed = [f"{each['check_id']} {each['resource']}" for each in results["failed_checks"]]
    assert failed == []


def test_each_exception_says_why(results: Results) -> None:
    for each in results["skipped_checks"]:
        reason = each["check_result"]["suppress_comment"]
        assert len(reason.split()) > 8, f"{each['check_id']} of {each['resource']}: {reason}"


def test_an_open_bucket_is_found(all_results: Results) -> None:
    failed = [each["check_id"] for each in all_results["failed_checks"] if _is_open(each)]
    assert "CKV_GCP_114" in failed
