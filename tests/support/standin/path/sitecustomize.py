"""Replaces ``diffusion_serving.pipeline`` by the stand-in when Python starts.

A process of the serving program uses it with this folder in front: ``PYTHONPATH=…/standin/path:
serving``. Its child processes, Ray's and LitServe's workers included, inherit that path.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

_NAME = "diffusion_serving.pipeline"
_FOLDER = Path(__file__).parents[1] / "pipeline"


class _InItsPlace:
    """A finder that resolves the real package's name to the stand-in."""

    @staticmethod
    def find_spec(name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name != _NAME:
            return None
        return importlib.util.spec_from_file_location(
            name, _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
        )


sys.meta_path.insert(0, _InItsPlace)
