"""Actions of the workflows, played by their effects on the machine and on the walk."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from dry_walk.machine import Machine

Inputs = Mapping[str, str]


class ActionError(Exception):
    """An action would fail: an input is missing, or what it needs is not there."""


class Artifacts:
    """The artifacts of a run, which its jobs hand on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def upload(self, machine: Machine, inputs: Inputs) -> None:
        sources = sorted(machine.checkout.glob(inputs["path"]))
        if not sources and inputs.get("if-no-files-found") == "error":
            raise ActionError(f"no file {inputs['path']}")
        target = self._folder / inputs["name"]
        target.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)

    def download(self, machine: Machine, inputs: Inputs) -> None:
        source = self._folder / inputs["name"]
        if not source.is_dir():
            raise ActionError(f"no artifact {inputs['name']}")
        shutil.copytree(source, machine.checkout / inputs["path"], dirs_exist_ok=True)


def _auth(machine: Machine, inputs: Inputs) -> None:
    for name in ("workload_identity_provider", "service_account"):
        if not inputs.get(name):
            raise ActionError(f"the auth action needs {name}")
    machine.world["google"] = True


def _login(machine: Machine, inputs: Inputs) -> None:
    if not inputs.get("password"):
        raise ActionError("the login action needs a password")
    machine.world["docker"].append(inputs["registry"])


def _gcloud(machine: Machine, inputs: Inputs) -> None:
    machine.world["components"] += inputs.get("install_components", "").split(",")


def _build(machine: Machine, inputs: Inputs) -> None:
    if inputs["tags"].partition("/")[0] not in machine.world["docker"]:
        raise ActionError("the build can't push: nobody is logged in to the registry")
    platforms = inputs.get("platforms", "linux/amd64").split(",")
    foreign = set(platforms) - {"linux/amd64", *machine.world["emulated"]}
    if foreign:
        raise ActionError(f"exec format error: the runner does not run {', '.join(foreign)}")
    machine.world["tags"].append(inputs["tags"])
    machine.world["platforms"][inputs["tags"]] = platforms


def _emulate(machine: Machine, inputs: Inputs) -> None:
    machine.world["emulated"] += [f"linux/{each}" for each in inputs["platforms"].split(",")]


def _nothing(_: Machine, __: Inputs) -> None:
    """Leaves the machine as it is: checkouts are clones already, Python and Go are there."""


ACTIONS: dict[str, Callable[[Machine, Inputs], None]] = {
    "actions/checkout": _nothing,
    "actions/setup-python": _nothing,
    "actions/setup-go": _nothing,
    "hashicorp/setup-terraform": lambda machine, _: machine.install("terraform"),
    "google-github-actions/auth": _auth,
    "google-github-actions/setup-gcloud": _gcloud,
    "docker/setup-buildx-action": _nothing,
    "docker/setup-qemu-action": _emulate,
    "docker/login-action": _login,
    "docker/build-push-action": _build,
    "actions/attest-build-provenance": _nothing,
    "actions/attest-sbom": _nothing,
    "sigstore/cosign-installer": _nothing,
}
