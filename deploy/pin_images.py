"""Writes the values file with the images that CI built; Argo CD rolls it out once committed.

    python3 deploy/pin_images.py built.json > deploy/argocd/operator/images.yaml

The JSON maps each target of the Dockerfile to its image, named by digest:
{"operator": "ghcr.io/team/diffusion-operator@sha256:…", "loadtest": …, "fastapi": …}.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

_HEAD = """\
# Written by deploy/pin_images.py when CI has built new images; the commit is the rollout.
images:
"""
_BY_DIGEST = re.compile(r"[a-z0-9][-a-z0-9./:_]*@sha256:[0-9a-f]{64}")

OWN = ("operator", "loadtest")
"""The targets that every installation needs; the others are serving images, one per backend."""


def require_digests(images: Mapping[str, str]) -> None:
    """Raises ValueError if an image is not named by its digest, or is missing."""
    for target, image in images.items():
        if _BY_DIGEST.fullmatch(image) is None:
            raise ValueError(
                f"{target}: {image!r} does not fix the image's content: name the image by its "
                "digest, as registry/name@sha256:…"
            )
    missing = [target for target in OWN if target not in images]
    if missing:
        raise ValueError(f"no image of {' and '.join(missing)}")


def values(images: Mapping[str, str]) -> str:
    """The chart's values, as YAML. Raises ValueError as `require_digests` does."""
    require_digests(images)
    backends = sorted(set(images) - set(OWN))
    lines = [f"  {target}: {images[target]}\n" for target in OWN]
    lines += ["  backends:\n"] if backends else []
    lines += [f"    {target}: {images[target]}\n" for target in backends]
    return _HEAD + "".join(lines)


def main() -> int:
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        print(__doc__, file=sys.stderr)
        return 2
    try:
        sys.stdout.write(values(json.loads(Path(sys.argv[1]).read_text())))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
