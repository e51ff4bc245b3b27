"""What making an environment from nothing comes to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from terraform_offline.workspace import Workspace


@dataclass(frozen=True)
class Plan:
    """The resources and outputs of an environment that isn't there yet."""

    resources: list[dict[str, Any]]
    outputs: dict[str, Any]

    @classmethod
    def of_environment(cls, workspace: Workspace, environment: str, **variables: Any) -> "Plan":
        planned = workspace.plan(f"environments/{environment}", **variables)["planned_values"]
        outputs = {name: each.get("value") for name, each in planned["outputs"].items()}
        return cls(list(_resources(planned["root_module"])), outputs)

    @property
    def types(self) -> set[str]:
        return {each["type"] for each in self.resources}

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The planned attributes of all resources of a type."""
        return [each["values"] for each in self.resources if each["type"] == kind]


def _resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)
