"""The table of facts, and where a plan holds the settings that the facts are about."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Fact:
    """A row of the table: its resource type, a setting if it is about one, and what follows."""

    source: str
    resource: str = ""
    setting: str = ""
    unless: Sequence[Any] = ()
    value: Any = None
    since: str = ""
    says: str | None = None

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the resource has the setting, with none of the values that don't count."""
        if not self.setting:
            return True
        return any(each not in self.unless for each in settings(values, self.setting))


@dataclass(frozen=True)
class Facts:
    """All facts."""

    apis: list[Fact]
    node_roles: list[Fact]
    dead: list[Fact]
    spot_only: list[Fact]
    roles: Mapping[str, list[str]]
    companions: list[Mapping[str, Any]]
    encrypted: list[Mapping[str, Any]]
    quota_project: list[Mapping[str, Any]]
    policies: list[Mapping[str, Any]]
    escalating: list[str] = field(default_factory=list)


def settings(values: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Yields every value at the path; a plan writes a nested block as a list."""
    name, _, rest = path.partition(".")
    value = values.get(name)
    for each in value if isinstance(value, list) else [value]:
        if rest and isinstance(each, Mapping):
            yield from settings(each, rest)
        elif not rest and each not in (None, ""):
            yield each


def permits(patterns: Sequence[str], forbidden: Sequence[str]) -> list[str]:
    """The forbidden permissions, which may be patterns, that one of the patterns includes."""
    return [
        each
        for each in forbidden
        if any(fnmatchcase(each, pattern) or fnmatchcase(pattern, each) for pattern in patterns)
    ]


@cache
def facts() -> Facts:
    """The facts of facts.yaml."""
    table = yaml.safe_load((Path(__file__).parent / "facts.yaml").read_text())
    return Facts(
        apis=[_fact(row, "api") for row in table["apis"]],
        node_roles=[_fact(row, "role") for row in table["node_roles"]],
        dead=[_fact(row, "") for row in table["dead"]],
        spot_only=[_fact(row, "machine_type") for row in table["spot_only"]],
        roles=table["roles"],
        companions=table["companions"],
        encrypted=table["encrypted"],
        quota_project=table["quota_project"],
        policies=table["policies"],
        escalating=table["escalating"],
    )


def _fact(row: Mapping[str, Any], says: str) -> Fact:
    return Fact(
        source=row["source"],
        resource=row.get("resource", ""),
        setting=row.get("setting", ""),
        unless=row.get("unless", ()),
        value=row.get("value"),
        since=row.get("from", ""),
        says=row.get(says) if says else None,
    )
