"""Modules that take seconds to import, and only when one of their names is asked for.

Each worker imports all test modules, but few workers run a test that needs torch.
"""

import importlib
from typing import Any


class Lazily:
    """Stands for a module under its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest asks this of each name in a module
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
