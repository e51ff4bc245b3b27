"""Images of this commit that a registry holds, by the tags that follow from their content.

    python3 deploy/published_images.py missing REGISTRY   the images to build, as a job's matrix
    python3 deploy/published_images.py names REGISTRY     {"operator": "REGISTRY/…@sha256:…", …}
    python3 deploy/published_images.py planned REGISTRY   as names, an unbuilt image by its tag

An image that a registry holds is never built again: a second build has another digest, and so
would replace every pod. The program asks with docker, which is logged in to the registry.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "images"))

from image_build.inputs import DEFAULT_BASE, IMAGES, Image, tag  # noqa: E402 - beside this folder

# Answers of a registry that lacks an image: the second if not even the package exists.
_ABSENT = ("not found", "denied", "403 Forbidden")


class RegistryError(Exception):
    """The registry gave no answer, so nobody knows whether it holds an image."""


def reference(registry: str, image: Image) -> str:
    """The image's name in the registry, with the tag of its content."""
    return f"{registry}/{image.name}:{tag(ROOT, image, DEFAULT_BASE)}"


def digest(reference: str) -> str | None:
    """The digest of an image in a registry, or None if the registry lacks it.

    Raises:
        RegistryError: docker failed for another reason.
    """
    command = ["docker", "buildx", "imagetools", "inspect", reference]
    command += ["--format", "{{json .Manifest}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        held: str = json.loads(done.stdout)["digest"]
        return held
    if any(each in done.stderr for each in _ABSENT):
        return None
    raise RegistryError(f"nobody knows whether {reference} exists: {done.stderr.strip()}")


def missing(registry: str) -> list[dict[str, str]]:
    """The images to build: target in the Dockerfile, name, tag, and platforms with commas."""
    references = {image: reference(registry, image) for image in IMAGES}
    return [
        {
            "target": image.target,
            "name": image.name,
            "tag": name.rpartition(":")[2],
            "platforms": ",".join(image.platforms),
        }
        for image, name in references.items()
        if digest(name) is None
    ]


def names(registry: str, *, planned: bool) -> dict[str, str]:
    """Each target's image by its digest; if ``planned``, an image that is not built by its tag.

    Raises:
        RegistryError: The registry lacks an image that should be there, or gave no answer.
    """
    images = {}
    for image in IMAGES:
        name = reference(registry, image)
        held = digest(name)
        if held is None and not planned:
            raise RegistryError(f"{registry} lacks {name}: build it first")
        images[image.target] = name if held is None else f"{registry}/{image.name}@{held}"
    return images


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in {"missing", "names", "planned"}:  # noqa: PLR2004 - the program and its two arguments
        print(__doc__, file=sys.stderr)
        return 2
    what, registry = sys.argv[1:]
    try:
        shown = missing(registry) if what == "missing" else names(registry, planned=what != "names")
    except RegistryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
