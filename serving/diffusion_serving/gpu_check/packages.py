"""The packages that a machine with Python and torch lacks for the check, one a line.

`python -m diffusion_serving.gpu_check.packages` prints them for `pip download`, so that they can be
carried to a machine that reaches no package registry.
"""

import sys
from collections.abc import Callable, Iterable
from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOTS = (
    "accelerate",
    "diffusers",
    "huggingface-hub",
    "peft",
    "pillow",
    "prometheus-client",
    "pydantic",
    "safetensors",
    "transformers",
)
"""The packages that the engine and its pipeline import."""
THERE = "torch"
"""The package that is there, with all that it requires."""

Facts = Callable[[str], tuple[str, Iterable[str]]]
"""Returns the version of an installed package, and what it requires."""


def carried(facts: Facts, python: str) -> list[str]:
    """Returns `name==version` of the roots and of all that they require, besides torch.

    Args:
        facts: the installed packages.
        python: the version of the machine's Python, such as `3.12`.

    """
    versions: dict[str, str] = {}
    left: list[str] = list(ROOTS)
    marks = {"extra": "", "python_version": python, "python_full_version": f"{python}.0"}
    while left:
        name = canonicalize_name(left.pop())
        if name in versions or name == THERE:
            continue
        versions[name], texts = facts(name)
        required = map(Requirement, texts)
        left += [each.name for each in required if not each.marker or each.marker.evaluate(marks)]
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def installed(name: str) -> tuple[str, Iterable[str]]:
    package = distribution(name)
    return package.version, package.requires or ()


if __name__ == "__main__":
    print("\n".join(carried(installed, sys.argv[1])))
