"""`make bench` finds all that it imports."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_what_make_runs_is_found_with_all_that_it_needs() -> None:
    dry = ["make", "--dry-run", "--always-make", "--no-print-directory", "bench"]
    recipe = subprocess.run(dry, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    command = recipe.splitlines()[-1]
    asked = ["bash", "-c", f"{command} --help"]
    done = subprocess.run(asked, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "operator" in done.stdout
