import re
from pathlib import Path

import pytest

from image_build.locks import LAYERS, LockError, closure, main, parse_lock, slices

ROOT = Path(__file__).resolve().parents[3]

PYPROJECT = """
[project]
name = "diffusion-operator"
version = "1.2.3"
dependencies = ["pydantic>=2"]
[project.optional-dependencies]
operator = ["kopf>=1; sys_platform != 'win32'"]
loadtest = ["locust[extra]>=2", "kopf"]
serving = ["torch>=2", "Diffusers_Lib"]
fastapi = ["fastapi>=0.1"]
litserve = ["litserve>=0.2"]
rayserve = ["ray[serve]>=2"]
"""


def pin(package: str, *needed_by: str, version: str = "1.0", marker: str = "") -> str:
    via = (
        f"    # via {needed_by[0]}\n"
        if len(needed_by) == 1
        else "    # via\n" + "".join(f"    #   {parent}\n" for parent in needed_by)
    )
    return f"{package}=={version}{marker} \\\n    --hash=sha256:{package}{version}\n{via}"


PROJECT = "diffusion-operator (pyproject.toml)"
PINS = {
    "diffusers-lib": pin("diffusers-lib", PROJECT),
    "fastapi": pin("fastapi", PROJECT, "litserve", "ray"),
    "kopf": pin("kopf", PROJECT),
    "litserve": pin("litserve", PROJECT),
    "locust": pin("locust", PROJECT),
    "nvidia-cublas": pin("nvidia-cublas", "nvidia-cudnn", "torch"),
    "nvidia-cudnn": pin("nvidia-cudnn", "torch", marker=" ; sys_platform == 'linux'"),
    "pydantic": pin("pydantic", "fastapi", PROJECT),
    "ray": pin("ray", PROJECT),
    "ruff": pin("ruff", "diffusion-operator (pyproject.toml:lint)"),
    "sympy": pin("sympy", "torch"),
    "torch": pin("torch", PROJECT, "diffusers-lib"),
    "typing": pin("typing", "torch", "pydantic"),
}


def lock(**changed: str) -> str:
    return "# made by uv\n#    uv pip compile\n" + "".join((PINS | changed).values())


def names(text: str) -> list[str]:
    return re.findall(r"^([a-z-]+)==", text, re.MULTILINE)


def test_each_layer_holds_the_packages_that_it_needs_and_no_layer_below_has() -> None:
    cut = slices(PYPROJECT, lock())
    assert {layer: names(text) for layer, text in cut.items()} == {
        "operator": ["kopf", "pydantic", "typing"],
        "loadtest": ["kopf", "locust", "pydantic", "typing"],
        "cuda": ["nvidia-cublas", "nvidia-cudnn"],
        "torch": ["sympy", "torch", "typing"],
        "serving": ["diffusers-lib", "pydantic"],
        "fastapi": ["fastapi"],
        "litserve": ["fastapi", "litserve"],
        "rayserve": ["fastapi", "ray"],
    }


def test_a_slice_keeps_hashes_and_markers_and_drops_comments() -> None:
    assert slices(PYPROJECT, lock())["cuda"] == (
        "nvidia-cublas==1.0 \\\n    --hash=sha256:nvidia-cublas1.0\n"
        "nvidia-cudnn==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:nvidia-cudnn1.0\n"
    )


def test_two_pins_of_one_package_go_together() -> None:
    two = pin("sympy", "torch", marker=" ; python_version < '3.12'") + pin(
        "sympy", "torch", version="2.0", marker=" ; python_version >= '3.12'"
    )
    assert names(slices(PYPROJECT, lock(sympy=two))["torch"]) == [
        "sympy",
        "sympy",
        "torch",
        "typing",
    ]


@pytest.mark.parametrize(
    ("bumped", "layers"),
    [
        ("ruff", set()),
        ("fastapi", {"fastapi", "litserve", "rayserve"}),
        ("ray", {"rayserve"}),
        ("sympy", {"torch"}),
        ("nvidia-cudnn", {"cuda"}),
        ("kopf", {"operator", "loadtest"}),
    ],
)
def test_a_bump_changes_only_the_layers_of_that_package(bumped: str, layers: set[str]) -> None:
    before = slices(PYPROJECT, lock())
    after = slices(PYPROJECT, lock(**{bumped: PINS[bumped].replace("1.0", "1.1")}))
    assert {layer for layer in before if before[layer] != after[layer]} == layers


def test_a_new_dependant_elsewhere_changes_no_layer() -> None:
    before = slices(PYPROJECT, lock())
    after = slices(PYPROJECT, lock(sympy=pin("sympy", "ruff", "torch")))
    assert before == after


def test_a_pin_without_a_hash_is_refused() -> None:
    with pytest.raises(LockError, match="kopf has no hash"):
        parse_lock("kopf==1.0\n    # via diffusion-operator\n")


def test_a_lock_without_comments_is_refused() -> None:
    bare = re.sub(r"^ *#.*\n", "", lock(), flags=re.MULTILINE)
    with pytest.raises(LockError, match="--no-annotate"):
        slices(PYPROJECT, bare)


def test_a_package_that_the_lock_lacks_is_refused_by_name() -> None:
    with pytest.raises(LockError, match="kopf is not in the lock"):
        slices(PYPROJECT, lock(kopf=""))


def test_a_circle_of_packages_ends() -> None:
    packages = parse_lock(pin("a", "b") + pin("b", "a"))
    assert closure(packages, ["a"]) == {"a", "b"}


def test_the_real_lock_can_be_cut() -> None:
    cut = slices((ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text())
    assert {layer for layers in LAYERS.values() for layer in layers} == set(cut)
    assert "torch" in names(cut["torch"])
    assert "nvidia-cublas" in names(cut["cuda"])
    assert not {"torch", "diffusers", "locust"} & set(names(cut["operator"]))
    assert not {"ruff", "mypy", "hypothesis"} & {
        name for text in cut.values() for name in names(text)
    }


def test_the_script_writes_a_file_a_layer_and_the_version(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "lock").write_text(lock())
    out = tmp_path / "out"
    assert main([str(tmp_path / "pyproject.toml"), str(tmp_path / "lock"), str(out)]) == 0
    assert {path.stem for path in out.glob("*.txt")} == set(slices(PYPROJECT, lock()))
    metadata = (out / "diffusion_operator.dist-info" / "METADATA").read_text()
    assert "Name: diffusion-operator\nVersion: 1.2.3\n" in metadata
