"""The packages to carry: the roots and all that they require, besides torch and what it brings."""

from collections.abc import Iterable

from diffusion_serving.gpu_check.packages import ROOTS, carried

REQUIRES = {
    "diffusers": ["numpy", "importlib_metadata; python_version < '3.12'", "flax; extra == 'flax'"],
    "accelerate": ["torch>=2.0", "numpy<3", 'tomli; python_full_version >= "3.12.0"'],
}


def installed(name: str) -> tuple[str, Iterable[str]]:
    assert name != "torch"
    return "1.0", REQUIRES.get(name, ())


def names(python: str) -> set[str]:
    return {line.partition("==")[0] for line in carried(installed, python)}


def test_requirements_are_carried_once_and_torch_is_not() -> None:
    assert names("3.12") == {*ROOTS, "numpy", "tomli"}
    assert carried(installed, "3.12").count("numpy==1.0") == 1


def test_markers_are_those_of_the_other_machine() -> None:
    assert names("3.11") == {*ROOTS, "numpy", "importlib-metadata"}
