"""Gate: the load test that a canary has to pass before traffic moves to its revision."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.api.state import RunState
from diffusion_operator.api.status import Failure
from diffusion_operator.diffusionservice.rollout.rollback import FailedRevision, failed_for_good
from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.kube.objects import RUN_AT_ANNOTATION
from diffusion_operator.kube.pod_status import failure_of, has_ended
from diffusion_operator.kube.workload import Workload

_NEEDED = ("Valid", "SLOMet")
# A runner that is lost at once would otherwise be started again at once.
RETRY_SECONDS = 60.0
# States of a LoadTest that someone has to help: its prompts are missing, say, or it is suspended.
_HELD_UP = frozenset({RunState.WAITING, RunState.SUSPENDED})
# A run without one answer has no valid figures, and is a miss all the same.
_ALL_FAILED = "AllRequestsFailed"


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


def has_missed(test: Mapping[str, Any] | None) -> bool:
    """Whether the LoadTest measured that the canary misses its objectives.

    A lost runner, figures that aren't valid and a test that never began say nothing of the canary.
    """
    status = ObservedLoadTest.of(test)
    valid, met = (status.condition(kind) for kind in _NEEDED)
    if not status.has_ended or met is None or not met.is_false:
        return False
    return met.reason == _ALL_FAILED or (valid is not None and valid.is_true)


def is_unmeasured(test: Mapping[str, Any] | None) -> bool:
    """Whether the LoadTest has ended without a verdict on the canary."""
    return ObservedLoadTest.of(test).has_ended and not (has_passed(test) or has_missed(test))


def is_held_up(test: Mapping[str, Any] | None) -> bool:
    """Whether no verdict is to be expected soon: the LoadTest can't begin, or ended without one."""
    return ObservedLoadTest.of(test).state in _HELD_UP or is_unmeasured(test)


def retry_after(test: Mapping[str, Any] | None, now: str) -> str | None:
    """Value of the LoadTest's run annotation, which changes where another run is due."""
    if test is None:
        return None
    before: str | None = (test["metadata"].get("annotations") or {}).get(RUN_AT_ANNOTATION)
    if not is_unmeasured(test):
        return before
    status = ObservedLoadTest.of(test)
    ended = max((each.last_transition_time or "" for each in status.conditions), default="")
    if ended and _seconds_between(ended, now) < RETRY_SECONDS:
        return before
    return f"after-{status.run}"


def _seconds_between(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def gate_failure(
    revision: str,
    observed: Mapping[str, Any] | None,
    pods: Iterable[Mapping[str, Any]],
    test: Mapping[str, Any] | None,
    now: str,
) -> FailedRevision | None:
    """Decision against the canary of that revision, or ``None`` while it is open."""
    if test is not None and has_missed(test):
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


def waiting(
    revision: str,
    test_name: str,
    pods: Iterable[Mapping[str, Any]],
    test: Mapping[str, Any] | None = None,
    *,
    up: bool,
) -> Gate:
    """Gate of a canary that is neither accepted nor refused."""
    if up and test is not None and is_unmeasured(test):
        return Gate(revision, f"{_why_not(test)}; the test runs again, as this is no verdict")
    if up:
        return Gate(revision, f"LoadTest {test_name} tests revision {revision} on its preview")
    alive = [pod for pod in pods if not has_ended(pod)]
    failures = [failure for pod in alive if (failure := failure_of(pod)) is not None]
    message = f"the canary of revision {revision} is starting"
    return Gate(revision, message, failures[-1] if failures else None)
