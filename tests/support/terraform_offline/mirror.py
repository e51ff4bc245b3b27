"""A mirror for `terraform init`, with providers that know the schemas alone."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localcluster.console import Progress
from localcluster.programs import built
from terraform_offline import schema
from terraform_offline.paths import DERIVED, HERE, TERRAFORM, TOOLS, UV, content_hash
from terraform_offline.programs import PROVIDER

_LOCK = HERE / "bindings.lock"
_RESOURCE = re.compile(r'^resource "(\w+)"', re.MULTILINE)
_PLATFORM = "linux_amd64" if os.uname().machine == "x86_64" else "linux_arm64"


@dataclass(frozen=True)
class Provider:
    """A provider: its name in the registry and in the bindings, and its version."""

    name: str
    version: str

    @property
    def package(self) -> str:
        return f"cdktn_provider_{self.name}"

    @property
    def address(self) -> str:
        return f"registry.terraform.io/hashicorp/{self.name}"

    def bindings_of(self, resource: str) -> str:
        """The folder of a resource's bindings: compute-network for google_compute_network."""
        return resource.removeprefix(f"{self.name}_").replace("_", "-")


PROVIDERS = (Provider("google", "8.7.0"), Provider("helm", "3.3.0"))


def used_resources(folder: Path = TERRAFORM) -> set[str]:
    """The types of all resources that the configuration declares."""
    return {kind for file in folder.rglob("*.tf") for kind in _RESOURCE.findall(file.read_text())}


def mirror(resources: Iterable[str]) -> Path:
    """The folder for `filesystem_mirror`, whose providers know these resources; made once.

    The first time takes a minute, mostly for 60 MB of bindings and a Go build.
    """
    names = sorted(resources)
    program = built(PROVIDER, TOOLS, Progress()) / PROVIDER.called[0]
    sources = [_LOCK.read_bytes(), *(file.read_bytes() for file in sorted(HERE.glob("*.py")))]
    key = content_hash(*sources, str(program).encode(), " ".join(names).encode())
    folder = DERIVED / f"mirror-{key}"
    DERIVED.mkdir(parents=True, exist_ok=True)
    with (DERIVED / "mirror.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            for provider in PROVIDERS:
                _make(provider, names, program, partial)
            partial.rename(folder)
    return folder


def _make(provider: Provider, resources: list[str], program: Path, mirror: Path) -> None:
    folder = mirror / provider.address / provider.version / _PLATFORM
    folder.mkdir(parents=True)
    shutil.copy(program, folder / f"terraform-provider-{provider.name}_v{provider.version}")
    own = [name for name in resources if name.startswith(f"{provider.name}_")]
    with tempfile.TemporaryDirectory() as unpacked:
        library = _unpack(provider, own, Path(unpacked))
        document = {
            "address": provider.address,
            "provider": schema.provider(library / "provider"),
            "resources": dict(
                schema.resource(library / provider.bindings_of(name)) for name in own
            ),
        }
    (folder / "schema.json").write_text(json.dumps(document, indent=1, sort_keys=True))


def _unpack(provider: Provider, resources: list[str], target: Path) -> Path:
    """Unpacks the bindings of these resources and of the provider itself."""
    archive = next((_installed() / provider.package / "_jsii").glob("*.tgz"))
    folders = {"provider", *(provider.bindings_of(name) for name in resources)}
    # Below package/lib/ each resource, and the provider, has a folder of its own.
    with tarfile.open(archive) as packed:
        for member in packed:
            parts = Path(member.name).parts
            if parts[:2] == ("package", "lib") and len(parts) > 3 and parts[2] in folders:
                packed.extract(member, target, filter="data")
    library = target / "package" / "lib"
    version = re.search(r"providerVersion: '([\d.]+)'", _first_resource(library, provider))
    if version is None or version[1] != provider.version:
        raise ValueError(f"the bindings are not of {provider.name} {provider.version}")
    return library


def _first_resource(library: Path, provider: Provider) -> str:
    folder = next(each for each in sorted(library.iterdir()) if each.name != "provider")
    return (folder / "index.js").read_text()


def _installed() -> Path:
    """The folder of the locked bindings from PyPI, downloaded once."""
    folder = DERIVED / f"bindings-{content_hash(_LOCK.read_bytes())}"
    if not folder.is_dir():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        install = [str(UV), "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        install += ["--require-hashes", "--target", str(partial), "--requirement", str(_LOCK)]
        subprocess.run(install, check=True)
        partial.rename(folder)
    return folder
