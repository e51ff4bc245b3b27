"""The stand-in's image has each package that the serving program imports at its start."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
START = """
import importlib.abc, importlib.metadata, sys
names = set(sys.argv[1:])
known = {
    module
    for module, packages in importlib.metadata.packages_distributions().items()
    if not names & {package.lower().replace("_", "-") for package in packages}
}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in known - {"diffusion_serving"}:
            raise ModuleNotFoundError(f"the image lacks {name}", name=name)

sys.meta_path.insert(0, Absent())
import diffusion_serving.__main__, diffusion_serving.backends.fastapi, diffusion_serving.http.app
"""


def test_the_serving_program_starts_with_the_slices_packages() -> None:
    script = [sys.executable, "tests/support/standin/slice.py", "requirements.lock"]
    environ = os.environ | {"PYTHONPATH": "images"}
    pins = subprocess.check_output(script, cwd=ROOT, env=environ, text=True)
    names = re.findall(r"^([a-z0-9-]+)==", pins, re.MULTILINE)
    path = os.pathsep.join(["tests/support/standin/path", "serving"])
    started = subprocess.run(
        [sys.executable, "-c", START, *names],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stderr
