"""Gate: the load test that a canary has to pass before traffic moves to its revision."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.api.status import Failure
from diffusion_operator.diffusionservice.rollout.rollback import FailedRevision, failed_for_good
from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.kube.pod_status import failure_of, has_ended
from diffusion_operator.kube.workload import Workload

_NEEDED = ("Valid", "SLOMet")


@dataclass(frozen=True)
class Gate:
    """State of a canary at the gate."""

    revision: str
    """Revision of the canary."""
    message: str
    """Reason for the wait."""
    failure: Failure | None = None
    """Failure that keeps the canary from answering."""


def has_passed(test: Mapping[str, Any] | None) -> bool:
    """Whether the LoadTest is Valid and SLOMet."""
    status = ObservedLoadTest.of(test)
    verdicts = [status.condition(kind) for kind in _NEEDED]
    return status.has_ended and all(each is not None and each.is_true for each in verdicts)


def is_of(test: Mapping[str, Any], tried: Mapping[str, Any] | None) -> bool:
    """Whether the LoadTest belongs to the existing canary.

    Another spec may have removed the LoadTest's own canary in between.
    """
    if tried is None:
        return False
    made, begun = (each["metadata"].get("creationTimestamp") or "" for each in (tried, test))
    return bool(made <= begun)


def gate_failure(
    revision: str,
    observed: Mapping[str, Any] | None,
    pods: Iterable[Mapping[str, Any]],
    test: Mapping[str, Any] | None,
    now: str,
) -> FailedRevision | None:
    """Decision against the canary of that revision, or ``None`` while it is open."""
    if test is not None and ObservedLoadTest.of(test).has_ended and not has_passed(test):
        return FailedRevision(revision, "GateNotMet", _why_not(test))
    if observed is None or revision_of(observed) != revision:
        return None
    return failed_for_good(observed, pods, now)


def _why_not(test: Mapping[str, Any]) -> str:
    status = ObservedLoadTest.of(test)
    for kind in _NEEDED:
        verdict = status.condition(kind)
        if verdict is None or not verdict.is_true:
            why = f"{verdict.reason}: {verdict.message}" if verdict else "the condition is missing"
            return f"LoadTest {test['metadata']['name']} is not {kind}: {why}"
    return f"LoadTest {test['metadata']['name']} did not complete"


def answers(observed: Mapping[str, Any] | None, revision: str) -> bool:
    """Whether the canary is of that revision and available."""
    if observed is None or revision_of(observed) != revision:
        return False
    workload = Workload.of_deployment(observed)
    there = workload.available_replicas > 0 and workload.updated_replicas > 0
    return workload.is_observed and there


def waiting(revision: str, test_name: str, pods: Iterable[Mapping[str, Any]], *, up: bool) -> Gate:
    """Gate of a canary that is neither accepted nor refused."""
    if up:
        return Gate(revision, f"LoadTest {test_name} tests revision {revision} on its preview")
    alive = [pod for pod in pods if not has_ended(pod)]
    failures = [failure for pod in alive if (failure := failure_of(pod)) is not None]
    message = f"the canary of revision {revision} is starting"
    return Gate(revision, message, failures[-1] if failures else None)
