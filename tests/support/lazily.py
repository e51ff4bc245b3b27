"""Lazy imports of modules that take seconds to import.

Each worker imports all test modules, but few workers run a test that needs torch.
"""

import importlib
from typing import Any


class Lazily:
    """Stands for the module of that name, and imports it at the first use of an attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest reads such attributes of each name in a test module
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
