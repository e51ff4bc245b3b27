"""Lock files without a provider's checksum."""

import subprocess
import sys
from pathlib import Path

from provider_checksums import without_checksum

ROOT = Path(__file__).parents[3]
OPEN = 'provider "registry.terraform.io/hashicorp/google" {\n  version = "8.7.0"\n}\n'
HASH = f'"h1:{"a" * 43}="'
LOCKED = OPEN.replace("google", "helm").replace("\n}", f"\n  hashes = [\n    {HASH},\n  ]\n}}")


def test_a_provider_without_checksum_is_named() -> None:
    assert without_checksum(OPEN + LOCKED) == ["registry.terraform.io/hashicorp/google"]
    assert without_checksum(LOCKED) == []


def test_an_empty_list_is_no_checksum() -> None:
    assert without_checksum(LOCKED.replace(HASH, "")) == ["registry.terraform.io/hashicorp/helm"]


def test_the_program_refuses_such_a_root_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".terraform.lock.hcl").write_text(OPEN)
    command = [sys.executable, "deploy/provider_checksums.py", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "providers lock" in done.stderr
    (tmp_path / ".terraform.lock.hcl").write_text(LOCKED)
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
