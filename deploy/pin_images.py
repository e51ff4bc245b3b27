"""Writes the values file with the images of a commit; Argo CD rolls it out once committed.

    python3 deploy/pin_images.py images.auto.tfvars.json COMMIT > images.yaml
    python3 deploy/pin_images.py --commit images.yaml         the commit of a values file, if any

The JSON is what deploy/promote_images.py prints: the images in the cluster's own registry, each
named by its digest. Nodes pull from there without a secret and without leaving Google's network.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HEAD = """\
# Written by deploy/pin_images.py when CI has applied new images; the commit is the rollout.
# Images of the commit {commit}
images:
"""
_COMMIT = re.compile(r"^# Images of the commit ([0-9a-f]{7,40})$", re.MULTILINE)
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


def flat(variable: Mapping[str, Any]) -> dict[str, str]:
    """Target and image of each, from Terraform's variable `images`."""
    images: dict[str, Any] = dict(variable["images"])
    backends: dict[str, str] = images.pop("backends", {})
    return backends | images


def pinned_commit(values: str) -> str:
    """The commit whose images a values file holds, or nothing."""
    match = _COMMIT.search(values)
    return match[1] if match else ""


def values(images: Mapping[str, str], commit: str) -> str:
    """The chart's values, as YAML. Raises ValueError as `require_digests` does."""
    require_digests(images)
    backends = sorted(set(images) - set(OWN))
    lines = [f"  {target}: {images[target]}\n" for target in OWN]
    lines += ["  backends:\n"] if backends else []
    lines += [f"    {target}: {images[target]}\n" for target in backends]
    return _HEAD.format(commit=commit) + "".join(lines)


def main() -> int:
    if len(sys.argv) != 3:  # noqa: PLR2004 - the program and its two arguments
        print(__doc__, file=sys.stderr)
        return 2
    if sys.argv[1] == "--commit":
        print(pinned_commit(Path(sys.argv[2]).read_text()))
        return 0
    try:
        images = flat(json.loads(Path(sys.argv[1]).read_text()))
        sys.stdout.write(values(images, sys.argv[2]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
