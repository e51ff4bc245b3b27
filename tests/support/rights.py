"""What an identity may do, and what the API server's audit log shows that it did."""

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
    """What was refused for lack of a right."""

    right: Right
    namespace: str


def granted(rules: Iterable[Object]) -> set[Right]:
    """Each right that the rules of a Role or ClusterRole list."""
    return {
        Right(*found)
        for rule in rules
        for found in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


def done_by(username: str, logs: Iterable[Path], *, since: float) -> Iterator[Object]:
    """That user's requests to resources since that time, as the audit logs have them.

    ``since`` is in seconds of Unix time.
    """
    for log in logs:
        with log.open() as lines:
            for line in lines:
                # The last line may still be in the writing.
                event = json.loads(line) if username in line and line.endswith("\n") else {}
                if (
                    "objectRef" in event
                    and event["user"]["username"] == username
                    and _moment(event) >= since
                ):
                    yield event


def used(events: Iterable[Object]) -> set[Right]:
    """The rights that were needed for what was done."""
    found = set()
    for event in events:
        if _decision(event) == "allow":
            right = _right(event)
            found.add(right)
            # Server-side apply of what isn't there yet needs both.
            if right.verb == "patch" and event["responseStatus"].get("code") == 201:
                found.add(right._replace(verb="create"))
    return found


def denied(events: Iterable[Object]) -> set[Denial]:
    """What was asked for without the right to it."""
    return {
        Denial(_right(event), event["objectRef"].get("namespace", ""))
        for event in events
        if _decision(event) == "forbid"
    }


def lacking(
    events: Iterable[Object], everywhere: Collection[Right], within: Mapping[str, Collection[Right]]
) -> set[Denial]:
    """What was refused though no role grants it, cluster-wide or ``within`` that namespace.

    What a role grants is refused only while the role is away, because its chart is.
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
