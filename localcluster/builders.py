"""The programs that store built images: Docker if its engine runs, buildah otherwise."""

import shutil

from localcluster import shell


def docker_holds(image: str) -> bool:
    return shutil.which("docker") is not None and shell.succeeds(
        ["docker", "image", "inspect", image]
    )


def buildah_id(image: str) -> str:
    """The image's id, 64 hex digits; raises LocalClusterError if buildah has no such image."""
    inspect = ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", image]
    return shell.run(inspect).strip()


def buildah_push(image: str, target: str, *, nearby: bool) -> list[str]:
    """The command that pushes an image; `nearby`: to this machine, by plain HTTP, and fast."""
    options = []
    if nearby:
        options = ["--tls-verify=false", "--compression-format=zstd", "--compression-level=1"]
    return ["buildah", "push", "--quiet", *options, image, f"docker://{target}"]
