"""`make bench` finds its imports, and runs all its parts if none is named."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_the_command_of_make_bench_finds_its_imports() -> None:
    dry = ["make", "--dry-run", "--always-make", "--no-print-directory", "bench"]
    recipe = subprocess.run(dry, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    command = recipe.splitlines()[-1]
    help_command = ["bash", "-c", f"{command} --help"]
    done = subprocess.run(help_command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "operator" in done.stdout


def test_all_parts_are_run_where_none_is_named() -> None:
    spec = importlib.util.spec_from_file_location("bench_command", ROOT / "bench/__main__.py")
    assert spec is not None
    assert spec.loader is not None
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    assert command.chosen([]) == list(command.PARTS)
    assert command.chosen(["operator"]) == ["operator"]
    with pytest.raises(SystemExit):
        command.chosen(["nothing"])
