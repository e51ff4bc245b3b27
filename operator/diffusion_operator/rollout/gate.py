"""Whether a candidate has passed the load test that it has to pass before it takes over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from diffusion_operator.api.diffusionservice import Failure
from diffusion_operator.build.deployment import revision_of
from diffusion_operator.objects import condition_of
from diffusion_operator.observe import failure_of, has_ended
from diffusion_operator.rollout.rollback import Failed, failed_for_good
from diffusion_operator.runs.basis import is_final

_NEEDED = ("Valid", "SLOMet")


@dataclass(frozen=True)
class Gate:
    """Where a candidate stands that has not passed yet."""

    revision: str
    """The candidate's."""
    message: str
    """What is waited for."""
    failure: Failure | None = None
    """What keeps the candidate from answering."""


def has_passed(test: Mapping[str, Any] | None) -> bool:
    """Whether the figures may be believed and are good enough."""
    if test is None or not is_final(test.get("status") or {}):
        return False
    found = [condition_of(test, kind) for kind in _NEEDED]
    return all(each is not None and each["status"] == "True" for each in found)


def is_of(test: Mapping[str, Any], tried: Mapping[str, Any] | None) -> bool:
    """Whether the test is of the live candidate.

    It is not where the spec has asked for something else meanwhile, so that the candidate went.
    """
    if tried is None:
        return False
    made, begun = (found["metadata"].get("creationTimestamp") or "" for found in (tried, test))
    return bool(made <= begun)


def gate_failure(
    revision: str,
    live: Mapping[str, Any] | None,
    pods: Iterable[Mapping[str, Any]],
    test: Mapping[str, Any] | None,
    now: str,
) -> Failed | None:
    """Why the candidate of that revision doesn't take over, if that is decided."""
    if test is not None and is_final(test.get("status") or {}) and not has_passed(test):
        return Failed(revision, "GateNotMet", _why_not(test))
    if live is None or revision_of(live) != revision:
        return None
    return failed_for_good(live, pods, now)


def _why_not(test: Mapping[str, Any]) -> str:
    for kind in _NEEDED:
        found = condition_of(test, kind)
        if found is None or found["status"] != "True":
            said = f"{found['reason']}: {found['message']}" if found else "it says nothing of it"
            return f"LoadTest {test['metadata']['name']} is not {kind}: {said}"
    return f"LoadTest {test['metadata']['name']} did not end well"


def answers(live: Mapping[str, Any] | None, revision: str) -> bool:
    """Whether the live candidate is of that revision and ready."""
    if live is None or revision_of(live) != revision:
        return False
    status = live.get("status") or {}
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    return bool(seen and status.get("availableReplicas") and status.get("updatedReplicas"))


def waiting(revision: str, test_name: str, pods: Iterable[Mapping[str, Any]], *, up: bool) -> Gate:
    """What a candidate waits for that is neither through nor refused."""
    if up:
        return Gate(revision, f"LoadTest {test_name} tries revision {revision} on its preview")
    alive = [pod for pod in pods if not has_ended(pod)]
    failures = [failure for pod in alive if (failure := failure_of(pod)) is not None]
    message = f"the candidate of revision {revision} starts"
    return Gate(revision, message, failures[-1] if failures else None)
