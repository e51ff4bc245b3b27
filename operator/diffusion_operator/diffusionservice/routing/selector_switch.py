"""Selector switch: a Service selects other pods only once their workload is accepted."""

from collections.abc import Mapping
from typing import Any


def switches_selector(observed: Mapping[str, Any] | None, desired: Mapping[str, Any]) -> bool:
    """Whether the desired Service selects other pods than the live one.

    Don't switch the selector until the new workload is accepted: the old pods serve, and the API
    server may refuse the new ones.
    """
    return observed is not None and observed["spec"].get("selector") != desired["spec"]["selector"]
