"""Loading of built images onto a local node."""

import subprocess
from pathlib import Path

from localcluster import builders, inside, node, oci, registry, shell
from localcluster.components import CONTAINERD_SOCKET, REGISTRY_PORT
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import ClusterPaths
from localcluster.record import Record
from localcluster.references import Reference, reference_of

PREFIX = f"registry.localcluster:{REGISTRY_PORT}"


def push_address(record: Record) -> str:
    """The address of the node's registry for the host."""
    return f"{record.address}:{REGISTRY_PORT}"


def load(paths: ClusterPaths, record: Record, image: str, progress: Progress) -> list[str]:
    """Loads an image of buildah or Docker, or an archive's images; returns the names for pods.

    An image that the node already has is not copied again. Raises LocalClusterError.
    """
    if Path(image).is_file():
        return _import(paths, image, progress)
    reference = Reference.parse(image)
    target = reference.at(PREFIX)
    if builders.docker_holds(image):
        _import_from_docker(paths, image, target, progress)
        return [target]
    _push(paths, record, image, reference, progress)
    _pull(paths, record, reference, progress)
    return [target]


def _push(
    paths: ClusterPaths, record: Record, image: str, reference: Reference, progress: Progress
) -> None:
    address = push_address(record)
    pushed = registry.held(address, reference)
    if pushed is not None and pushed.image == builders.buildah_id(image):
        return
    push = builders.buildah_push(image, reference.at(address), nearby=True)
    # buildah copies each layer to a temporary file. If it is killed, `down` removes these files.
    paths.transit.mkdir(exist_ok=True)
    shell.run_long(push, progress, f"pushing {image}", env={"TMPDIR": str(paths.transit)})


def _pull(paths: ClusterPaths, record: Record, reference: Reference, progress: Progress) -> None:
    target = reference.at(PREFIX)
    pushed = registry.held(push_address(record), reference)
    for line in node.ctr(paths, "images", "list").splitlines():
        name, _, rest = line.partition(" ")
        if name == target and pushed is not None and f"sha256:{pushed.digest}" in rest:
            return
    client = str(inside.HOME / "programs" / "cri-pull")
    pull = node.inner(paths, client, f"unix://{CONTAINERD_SOCKET}", target)
    shell.run_long(pull, progress, f"pulling {target}")


def _import(paths: ClusterPaths, archive: str, progress: Progress) -> list[str]:
    names = [reference_of(name) for name in oci.names(Path(archive))]
    if not names:
        raise LocalClusterError(f"{archive} does not name the images in it.")
    with Path(archive).open("rb") as file:
        importing = node.ctr_command(paths, "images", "import", "-")
        shell.run_long(importing, progress, f"importing {archive}", stdin=file)
    return names


def _import_from_docker(paths: ClusterPaths, image: str, target: str, progress: Progress) -> None:
    """Imports an image directly: Docker refuses plain HTTP to a registry outside loopback."""
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:
        importing = node.ctr_command(paths, "images", "import", "-")
        shell.run_long(importing, progress, f"importing {image}", stdin=saving.stdout)
    if saving.returncode != 0:
        raise LocalClusterError(f"`docker save {image}` failed with code {saving.returncode}.")
    node.ctr(paths, "images", "tag", "--force", reference_of(image), target)
