"""Copies the images that CI built to an environment's own registry, and prints their names.

    python3 deploy/promote_images.py built.json REGISTRY > images.auto.tfvars.json

The JSON maps each target of the Dockerfile to its image, named by digest. The program copies the
whole index, with its SBOM and provenance, so the digest stays. An image that the registry already
has isn't copied. stdout is the Terraform variable `images`.
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
    if len(sys.argv) != 3:  # noqa: PLR2004 - the program and its two arguments
        print(__doc__, file=sys.stderr)
        return 2
    try:
        built: dict[str, str] = json.loads(Path(sys.argv[1]).read_text())
        require_digests(built)
        images = {target: promoted(image, sys.argv[2]) for target, image in built.items()}
        for target, image in built.items():
            _copy(image, images[target])
    except (ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(variable(images)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
