"""A copy of the Terraform directory, to run Terraform in or to break."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terraform_offline.mirror import mirror, used_resources
from terraform_offline.paths import ROOT, TERRAFORM
from terraform_offline.programs import terraform

MODULES = tuple(sorted(f"modules/{each.name}" for each in (TERRAFORM / "modules").iterdir()))
ROOTS = ("bootstrap", "environments/prod", "environments/test")
DIRECTORIES = (*MODULES, *ROOTS)

REAL = os.environ.get("TERRAFORM_PROVIDERS") == "registry"
"""Whether the tests use the real providers, from the registry."""

CHECK = "the providers" if REAL else "the providers' schemas (schema check)"
"""The source of the checks, for the report header."""

_IGNORED = shutil.ignore_patterns(".terraform", "*.tfstate*")


@dataclass(frozen=True)
class Outcome:
    """The exit code of a Terraform command, and all that it printed."""

    code: int
    output: str

    @property
    def ok(self) -> bool:
        return self.code == 0


@dataclass(frozen=True)
class Workspace:
    """A copy at `folder`/terraform, with the chart at its relative path."""

    folder: Path

    @classmethod
    def of_checkout(cls, folder: Path) -> "Workspace":
        """A fresh copy of the checkout's Terraform in an empty folder."""
        shutil.copytree(TERRAFORM, folder / "terraform", ignore=_IGNORED)
        (folder / "deploy").symlink_to(ROOT / "deploy")
        workspace = cls(folder)
        if not REAL:
            path = mirror(used_resources())
            config = (
                f'provider_installation {{\n  filesystem_mirror {{\n    path = "{path}"\n  }}\n}}'
            )
            workspace.config.write_text(config)
        return workspace

    @property
    def config(self) -> Path:
        return self.folder / "terraform.rc"

    def directory(self, name: str) -> Path:
        return self.folder / "terraform" / name

    def copy(self, folder: Path) -> "Workspace":
        """Another copy, which includes the results of `init`."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Workspace(folder)

    def terraform(self, directory: str, *arguments: str) -> Outcome:
        """Runs Terraform in a directory of the copy."""
        settings = {
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "TF_INPUT": "0",
            "TF_CLI_CONFIG_FILE": str(self.config),
        }
        if REAL:
            del settings["TF_CLI_CONFIG_FILE"]
            # The provider needs a token to start; a plan of new resources sends Google no request.
            settings["GOOGLE_OAUTH_ACCESS_TOKEN"] = "none"
        done = subprocess.run(
            [terraform(), f"-chdir={self.directory(directory)}", *arguments, "-no-color"],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        return Outcome(done.returncode, done.stdout)

    def init(self, directory: str) -> Outcome:
        """Initialises the directory with its providers and modules, without its remote state."""
        return self.terraform(directory, "init", "-backend=false")

    def plan(self, directory: str, **variables: Any) -> dict[str, Any]:
        """The plan of the directory from nothing, as `terraform show -json` prints it."""
        folder = self.directory(directory)
        local = folder / "override.tf"
        commands = [("plan", "-out=plan")]
        if not local.exists():
            local.write_text('terraform {\n  backend "local" {}\n}\n')
            commands.insert(0, ("init", "-reconfigure"))
        (folder / "zz-tests.auto.tfvars.json").write_text(json.dumps(variables))
        for arguments in commands:
            outcome = self.terraform(directory, *arguments)
            if not outcome.ok:
                raise AssertionError(outcome.output)
        shown = self.terraform(directory, "show", "-json", "plan")
        plan: dict[str, Any] = json.loads(shown.output)
        return plan
