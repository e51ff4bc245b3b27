"""Imports inside the serving program run one way."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[3] / "serving"
PACKAGE = ROOT / "diffusion_serving"
LAYERS = (
    "observability",
    "config",
    "settings",
    "fetch",
    "engine",
    "http",
    "pipeline",
    "engine_process",
)
"""Layers, lowest first. Above them are the backends, and the two programs that people start."""
HTTP_LAYERS = ("responses", "requests", "ui", "route_table", "documentation", "auth", "service")


def modules() -> dict[str, Path]:
    """Each module of the package, by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def imports() -> dict[str, set[str]]:
    """The modules of the package that each module imports, at any place of its text."""
    paths = modules()
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        targets = graph.setdefault(name, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                longer = {f"{node.module}.{alias.name}" for alias in node.names} & paths.keys()
                targets |= longer or ({node.module} & paths.keys())
    return graph


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter(imports()).prepare()  # raises CycleError


def test_no_folder_imports_from_one_above_it() -> None:
    upward = []
    for name, imported in imports().items():
        for other in imported:
            for depth, layers in ((1, LAYERS), (2, HTTP_LAYERS)):
                here, there = name.split(".")[depth:][:1], other.split(".")[depth:][:1]
                if name.split(".")[1:depth] == other.split(".")[1:depth] and here and there:
                    places = [layers.index(x) if x in layers else len(layers) for x in here + there]
                    if places[0] < places[1]:
                        upward.append(f"{name} imports {other}")
    assert not upward
