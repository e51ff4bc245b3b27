"""Copies the images that CI built to an environment's own registry, and prints their names.

    python3 deploy/promote_images.py built.json REGISTRY > images.auto.tfvars.json
    python3 deploy/promote_images.py --names built.json REGISTRY    the names alone, for a plan

The JSON maps each target of the Dockerfile to its image, named by digest. The program copies the
whole index, with its SBOM and provenance, so the digest stays. An image that the registry already
has isn't copied. A plan may name an image by its tag, if it is not built yet. stdout is the
Terraform variable `images`.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pin_images import OWN, require_digests


def promoted(image: str, registry: str) -> str:
    """The image's name, with its digest, in another registry."""
    return f"{registry}/{image.rpartition('/')[2]}"


def variable(images: Mapping[str, str]) -> dict[str, Any]:
    """Terraform's variable `images`: the operator's, the load test's, and each backend's."""
    backends = {target: image for target, image in images.items() if target not in OWN}
    return {"images": {target: images[target] for target in OWN} | {"backends": backends}}


def _copy(image: str, target: str) -> None:
    """Copies an image; raises CalledProcessError after docker has explained it on stderr."""
    imagetools = ["docker", "buildx", "imagetools"]
    held = subprocess.run([*imagetools, "inspect", target], capture_output=True, check=False)
    if held.returncode == 0:
        return
    name, _, digest = target.partition("@sha256:")
    print(f"copying {image} to {name}", file=sys.stderr)
    create = [*imagetools, "create", "--tag", f"{name}:{digest[:16]}", image]
    subprocess.run(create, check=True, stdout=sys.stderr)


def main() -> int:
    names_only = sys.argv[1:2] == ["--names"]
    arguments = sys.argv[2:] if names_only else sys.argv[1:]
    if len(arguments) != 2:  # noqa: PLR2004 - a file and a registry
        print(__doc__, file=sys.stderr)
        return 2
    try:
        built: dict[str, str] = json.loads(Path(arguments[0]).read_text())
        images = {target: promoted(image, arguments[1]) for target, image in built.items()}
        if not names_only:
            require_digests(built)
            for target, image in built.items():
                _copy(image, images[target])
    except (ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(variable(images)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
