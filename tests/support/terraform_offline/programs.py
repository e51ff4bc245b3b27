"""The programs: Terraform itself, and the provider that knows a schema only."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from localcluster.console import Progress
from localcluster.programs import Program, built
from terraform_offline.paths import HERE, TOOLS

TERRAFORM = Program(
    "terraform",
    ("terraform",),
    package="github.com/hashicorp/terraform",
    versioned_by="github.com/hashicorp/terraform",
    hint="about 6 minutes on 2 cores",
    sources=HERE / "go",
)
PROVIDER = Program("provider", ("provider",), hint="2 minutes", sources=HERE / "go")


@cache
def terraform() -> Path:
    """Terraform from PATH if it is new enough, else a build from its Go modules, made once."""
    on_path = shutil.which("terraform")
    if on_path is not None and _version(Path(on_path)) >= (1, 11):
        return Path(on_path)
    return built(TERRAFORM, TOOLS, Progress()) / "terraform"


def _version(program: Path) -> tuple[int, int]:
    done = subprocess.run(
        [program, "version"],
        env=os.environ | {"CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    numbers = re.search(r"Terraform v(\d+)\.(\d+)", done.stdout)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
