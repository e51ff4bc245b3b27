"""Rights of an identity: granted by roles, and used or denied by the API server's audit log."""

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

Object = Mapping[str, Any]


class Right(NamedTuple):
    """A verb on a resource, which may be a subresource as in `diffusionservices/status`."""

    group: str
    resource: str
    verb: str


class Denial(NamedTuple):
    """A request that was refused for lack of a right."""

    right: Right
    namespace: str


def granted(rules: Iterable[Object]) -> set[Right]:
    """Each right that the rules of a Role or ClusterRole list."""
    return {
        Right(*each)
        for rule in rules
        for each in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


def done_by(username: str, logs: Iterable[Path], *, since: float) -> Iterator[Object]:
    """Yields that user's requests to resources since that time, from the audit logs.

    ``since`` is in seconds of Unix time.
    """
    for log in logs:
        with log.open() as lines:
            for line in lines:
                # The last line may be incomplete.
                event = json.loads(line) if username in line and line.endswith("\n") else {}
                if (
                    "objectRef" in event
                    and event["user"]["username"] == username
                    and _moment(event) >= since
                ):
                    yield event


def used(events: Iterable[Object]) -> set[Right]:
    """The rights that the allowed requests needed."""
    rights = set()
    for event in events:
        if _decision(event) == "allow":
            right = _right(event)
            rights.add(right)
            # Server-side apply of a new object needs both verbs.
            if right.verb == "patch" and event["responseStatus"].get("code") == 201:
                rights.add(right._replace(verb="create"))
    return rights


def denied(events: Iterable[Object]) -> set[Denial]:
    """The requests that were refused for lack of a right."""
    return {
        Denial(_right(event), event["objectRef"].get("namespace", ""))
        for event in events
        if _decision(event) == "forbid"
    }


def lacking(
    events: Iterable[Object], everywhere: Collection[Right], within: Mapping[str, Collection[Right]]
) -> set[Denial]:
    """The refused requests that no role grants, neither cluster-wide nor ``within`` the namespace.

    A right that a role grants is refused only while the chart, and so the role, isn't installed.
    """
    return {
        refused
        for refused in denied(events)
        if refused.right not in everywhere
        and refused.right not in within.get(refused.namespace, ())
    }


def _moment(event: Object) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def _decision(event: Object) -> str:
    return str(event.get("annotations", {}).get("authorization.k8s.io/decision", ""))


def _right(event: Object) -> Right:
    ref = event["objectRef"]
    names = (ref.get("resource", ""), ref.get("subresource", ""))
    return Right(ref.get("apiGroup", ""), "/".join(filter(None, names)), event["verb"])
