"""A release's version, notes and chart.

    python3 deploy/release.py check vVERSION    refuses a tag that is not the project's version
    python3 deploy/release.py notes vVERSION    prints the changelog of the version
    python3 deploy/release.py chart built.json REGISTRY FOLDER

The last command copies the chart; its defaults are then the registry and the images' digests.
"""

import json
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pin_images import OWN, require_digests

ROOT = Path(__file__).resolve().parents[1]


class ReleaseError(Exception):
    """The repository does not fit the tag; the message says what to change."""


def check(tag: str, root: Path = ROOT) -> None:
    """Raises ReleaseError if the package, the chart and the changelog have another version."""
    version = tag.removeprefix("v")
    package = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    chart = (root / "deploy" / "chart" / "Chart.yaml").read_text()
    versions = {
        "pyproject.toml": package,
        "the chart's version": _field(chart, "version"),
        "the chart's appVersion": _field(chart, "appVersion"),
    }
    wrong = [f"{place} is {each}" for place, each in versions.items() if each != version]
    if wrong:
        raise ReleaseError(f"the tag is {tag}, but {', '.join(wrong)}: change them first")
    notes(tag, root)


def notes(tag: str, root: Path = ROOT) -> str:
    """The changelog's section of a version. Raises ReleaseError if there is none."""
    text = (root / "CHANGELOG.md").read_text()
    version = re.escape(tag.removeprefix("v"))
    section = re.search(rf"^## \[?{version}\b.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None or not section[1].strip():
        raise ReleaseError(f"CHANGELOG.md has no section {tag.removeprefix('v')}")
    return section[1].strip() + "\n"


def values(text: str, images: Mapping[str, str], registry: str) -> str:
    """The chart's values with the registry and each image by digest as defaults.

    Raises:
        ReleaseError: The values lack a line that the release replaces.
    """
    replaced = {f"registry: {registry}": r"^registry: .*$"}
    replaced |= {f"  {each}: {images[each]}": rf'^  {each}: ""$' for each in OWN}
    backends = set(images) - set(OWN)
    replaced |= {f"    {each}: {images[each]}": rf'^    {each}: ""$' for each in backends}
    for line, pattern in replaced.items():
        text, count = re.subn(pattern, line, text, count=1, flags=re.MULTILINE)
        if count != 1:
            raise ReleaseError(f"deploy/chart/values.yaml has no line for {line.strip()}")
    return text


def _field(chart: str, name: str) -> str:
    match = re.search(rf"^{name}: (.*)$", chart, re.MULTILINE)
    return match[1].strip('"') if match else "missing"


def _chart(built: Path, registry: str, folder: Path) -> None:
    images: dict[str, str] = json.loads(built.read_text())
    require_digests(images)
    shutil.copytree(ROOT / "deploy" / "chart", folder)
    file = folder / "values.yaml"
    file.write_text(values(file.read_text(), images, registry))


def main() -> int:
    try:
        match sys.argv[1:]:
            case ["check", tag]:
                check(tag)
            case ["notes", tag]:
                sys.stdout.write(notes(tag))
            case ["chart", built, registry, folder]:
                _chart(Path(built), registry, Path(folder))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (ReleaseError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
