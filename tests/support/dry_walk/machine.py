"""A machine for a walk: a clone of the repository, and stand-ins on the PATH."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dry_walk import programs

ROOT = Path(__file__).resolve().parents[3]
FRESH: dict[str, Any] = {
    "google": False,
    "cluster": False,
    "docker": [],
    "components": [],
    "buckets": [],
    "objects": {},
    "roots": {},
    "outputs": {},
    "clusters": [],
    "images": [],
    "tags": [],
    "platforms": {},
    "emulated": [],
    "verified": [],
    "destroyed": [],
    "calls": [],
    "applies": 0,
}
"""The world before a walk: nobody is logged in, and nothing exists."""

LOCAL = ("google", "cluster", "docker", "components", "roots", "emulated")
"""Parts of the world that are a machine's own, and that the next machine lacks."""


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", *who, *arguments]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    """A bare repository whose main is the working tree, with checksums in its lock files."""
    work = folder / "work"
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, work / name
        if not source.exists() and not source.is_symlink():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    for lock in work.glob("terraform/**/.terraform.lock.hcl"):
        checksum = f'  hashes = ["h1:{"a" * 43}="]\n}}'
        lock.write_text(lock.read_text().replace("\n}", f"\n{checksum}"))
    git(work, "init", "--quiet", "--initial-branch", "main")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "the working tree")
    bare = folder / "origin.git"
    git(folder, "clone", "--quiet", "--bare", str(work), str(bare))
    return bare


@dataclass
class Machine:
    """A fresh machine with a clone of the repository.

    ``world`` outlives it: buckets, registries and clusters.
    """

    folder: Path
    origin: Path
    world: dict[str, Any]

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        git(self.folder, "clone", "--quiet", "--shared", str(self.origin), "checkout")
        self.bin.mkdir()
        for name in programs.PROGRAMS:
            if name != "terraform":  # the runner has none until a step sets it up
                self.install(name)
        for name, text in (("sudo", "#!/bin/sh\nexit 0\n"), ("make", _MAKE)):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        self.world |= {name: json.loads(json.dumps(FRESH[name])) for name in LOCAL}

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def install(self, name: str) -> None:
        """Puts a stand-in on the PATH."""
        support = str(Path(programs.__file__).parents[1])
        program = self.bin / name
        program.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {support!r})\n"
            f"from dry_walk.programs import main\nmain({name!r}, sys.argv[1:])\n"
        )
        program.chmod(0o755)

    def run(
        self, script: str, environment: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """Runs a step's script as GitHub does, with bash -e and pipefail."""
        state = self.folder / "state.json"
        state.write_text(json.dumps(self.world))
        own = {
            "PATH": f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DRY_WALK": str(self.folder),
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=folder,
            env=own | dict(environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.world.update(json.loads(state.read_text()))
        return done


# `make .uv/bin/uv` gives a uv that makes an environment, whose Python writes the report.
_MAKE = """#!/bin/sh
[ "$1" = .uv/bin/uv ] || exit 0
mkdir -p .uv/bin
cat > .uv/bin/uv <<'END'
#!/bin/sh
[ "$1" = build ] && touch packed/diffusion_operator.whl
[ "$1" = venv ] || exit 0
mkdir -p .venv-cli/bin
printf '#!/bin/sh\\nwhile [ "$1" != --output ]; do shift; done\\n' > .venv-cli/bin/python
echo 'echo report > "$2"' >> .venv-cli/bin/python
chmod +x .venv-cli/bin/python
END
chmod +x .uv/bin/uv
"""
