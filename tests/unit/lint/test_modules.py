import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MOST_LINES = 400


def test_module_is_short_enough_to_hold_one_idea() -> None:
    """Checks every tracked module, tests included."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    modules = [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]
    assert modules
    assert {name for name in modules if _lines(name) > MOST_LINES} == set()


def _lines(module: str) -> int:
    return len((ROOT / module).read_text().splitlines())


def test_package_has_only_folders_below_its_top() -> None:
    """Checks the four packages: each module stands in the folder of its feature."""
    for package in (
        "operator/diffusion_operator",
        "serving/diffusion_serving",
        "loadtest/diffusion_loadtest",
        "cli/kubectl_diffusion",
    ):
        loose = {path.name for path in (ROOT / package).glob("*.py")}
        assert loose <= {"__init__.py", "__main__.py", "settings.py"}
