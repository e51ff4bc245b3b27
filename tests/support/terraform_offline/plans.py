"""Plans that create an environment from nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from terraform_offline.workspace import Workspace


@dataclass(frozen=True)
class Plan:
    """The planned resources and outputs of a directory, none of which exists yet."""

    resources: list[dict[str, Any]]
    outputs: dict[str, Any]
    configuration: dict[str, Any]
    """The configuration itself, with what no plan holds: providers and references."""

    @classmethod
    def of(cls, workspace: Workspace, directory: str, **variables: Any) -> "Plan":
        shown = workspace.plan(directory, **variables)
        planned = shown["planned_values"]
        outputs = {name: each.get("value") for name, each in planned["outputs"].items()}
        return cls(list(_resources(planned["root_module"])), outputs, shown["configuration"])

    @property
    def types(self) -> set[str]:
        return {each["type"] for each in self.resources}

    def all_of(self, kind: str) -> list[dict[str, Any]]:
        """The planned attributes of all resources of a type."""
        return [each["values"] for each in self.resources if each["type"] == kind]


def _resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)
