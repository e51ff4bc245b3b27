"""The programs: Terraform itself, and the provider that only knows a schema."""

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
    """The one on PATH where it is new enough, else one built once from its Go modules."""
    found = shutil.which("terraform")
    if found is not None and _version(Path(found)) >= (1, 11):
        return Path(found)
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
