"""Run identity: the spec, annotation and target revision of a run, and when another run is due.

The status remembers a finished run, its Job a running one; each has the identity.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.kube.metadata import digest
from diffusion_operator.kube.objects import (
    ROLE_LABEL,
    RUN_LABEL,
    Object,
    labels_of,
    run_at_of,
)
from diffusion_operator.loadtest.specs.job import RUNNER

RUN_IDENTITY = "diffusion.dev/run-of"
NOT_LOAD = {"suspend", "rerun", "historyLimit", "baselineRef"}
"""Fields of the spec that begin no other run: load and target stay as they are."""
_PARTS = 3


@dataclass(frozen=True)
class RunIdentity:
    """Identity of a run."""

    spec: str
    """Digest of the load and where it goes."""
    run_at: str = ""
    """Value of the annotation that requested the run."""
    revision: str = ""
    """Revision of the target, where it is known."""

    def text(self) -> str:
        """Text for the annotation of the run's Job."""
        return json.dumps([self.spec, self.run_at, self.revision])


@dataclass(frozen=True)
class Run:
    """Run with its name and identity."""

    name: str
    of: RunIdentity


def desired_identity(test: Mapping[str, Any], revision: str) -> RunIdentity:
    """Identity of a run that begins now."""
    spec = {name: value for name, value in test["spec"].items() if name not in NOT_LOAD}
    return RunIdentity(digest(spec), run_at_of(test), revision)


def is_due(before: RunIdentity, now: RunIdentity, rerun: str) -> bool:
    """Whether a test with a run of identity ``before`` runs again."""
    if now.run_at and now.run_at != before.run_at:
        return True
    if rerun == "Never":
        return False
    if now.spec != before.spec:
        return True
    another = bool(now.revision and before.revision) and now.revision != before.revision
    return rerun == "OnTargetChange" and another


def last_run(status: ObservedLoadTest) -> Run | None:
    """Run in the status, if there is one."""
    if not status.run:
        return None
    return Run(status.run, RunIdentity(status.spec_digest, status.run_at, status.target.revision))


def run_of(job: Mapping[str, Any]) -> Run | None:
    """Run of a runner's Job; ``None`` for any other Job.

    A newer operator may have added parts to the identity.
    """
    name = labels_of(job).get(RUN_LABEL)
    text = (job["metadata"].get("annotations") or {}).get(RUN_IDENTITY)
    if not name or not text or labels_of(job).get(ROLE_LABEL) != RUNNER:
        return None
    try:
        return Run(name, RunIdentity(*map(str, json.loads(text)[:_PARTS])))
    except (ValueError, TypeError):  # not this operator's text
        return None


def current_run(
    test: Mapping[str, Any],
    jobs: Iterable[Object],
    basis: RunIdentity,
    *,
    rerun: str,
    reported: str | None,
) -> Run:
    """Current run: one in progress, one with an unrecorded report, or a new one.

    ``jobs`` are not terminating; ``reported`` is the run with a complete report. A final status of
    the returned run means that it is finished.
    """
    status = ObservedLoadTest.of(test)
    recorded = last_run(status)
    begun = [run for job in jobs if (run := run_of(job)) is not None]
    unrecorded = [run for run in (recorded, *begun) if run is not None and run.name == reported]
    if unrecorded and not (recorded == unrecorded[0] and status.has_ended):
        return unrecorded[0]
    if recorded is not None and not is_due(recorded.of, basis, rerun):
        return recorded
    for run in begun:
        if not is_due(run.of, basis, rerun) and (recorded is None or run.name != recorded.name):
            return run
    return Run(_name(test, basis, status.run), basis)


def _name(test: Mapping[str, Any], basis: RunIdentity, before: str) -> str:
    """Name of the next run, the same for repeated calls."""
    meta = test["metadata"]
    return digest([meta["uid"], meta["generation"], basis.text(), before])[:6]
