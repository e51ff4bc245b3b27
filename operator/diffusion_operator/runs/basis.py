"""What a run is of, and when another one is due.

A finished run is remembered by the test's status, a running one by its Job; either says what load,
which wish of its owner and which revision of the target it is of.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from diffusion_operator.build.job import RUNNER
from diffusion_operator.build.metadata import digest
from diffusion_operator.objects import ROLE_LABEL, RUN_LABEL, Object, labels_of

RUN_AT = "diffusion.dev/run-at"
BASIS = "diffusion.dev/run-of"
NOT_LOAD = {"suspend", "rerun", "historyLimit"}
FINAL = {"Complete", "Failed"}
_MOST_RUN_AT = 253


@dataclass(frozen=True)
class Basis:
    """What a run is of."""

    spec: str
    """Digest of the load and where it goes."""
    run_at: str = ""
    """The annotation by which its owner asked for it."""
    revision: str = ""
    """The target's revision, where that is known."""

    def text(self) -> str:
        """As an annotation of the run's Job."""
        return json.dumps([self.spec, self.run_at, self.revision])


@dataclass(frozen=True)
class Run:
    """One run: its name, and what it is of."""

    name: str
    of: Basis


def wanted_basis(test: Mapping[str, Any], revision: str) -> Basis:
    """What a run that began now would be of."""
    spec = {name: value for name, value in test["spec"].items() if name not in NOT_LOAD}
    wish = (test["metadata"].get("annotations") or {}).get(RUN_AT, "")
    return Basis(digest(spec), wish[:_MOST_RUN_AT], revision)


def is_due(before: Basis, now: Basis, rerun: str) -> bool:
    """Whether a test that ran, or runs, on the basis ``before`` runs again."""
    if now.run_at and now.run_at != before.run_at:
        return True
    if rerun == "Never":
        return False
    if now.spec != before.spec:
        return True
    another = bool(now.revision and before.revision) and now.revision != before.revision
    return rerun == "OnTargetChange" and another


def last_run(status: Mapping[str, Any]) -> Run | None:
    """The run that the status tells of, if it does."""
    if not status.get("run"):
        return None
    revision = (status.get("target") or {}).get("revision", "")
    return Run(
        status["run"], Basis(status.get("specDigest", ""), status.get("runAt", ""), revision)
    )


def is_final(status: Mapping[str, Any]) -> bool:
    """Whether the status holds the end of the run that it tells of."""
    return bool(status.get("run")) and status.get("state") in FINAL


def run_of(job: Mapping[str, Any]) -> Run | None:
    """The run of a runner's Job; nothing for a Job that is something else."""
    name = labels_of(job).get(RUN_LABEL)
    text = (job["metadata"].get("annotations") or {}).get(BASIS)
    if not name or not text or labels_of(job).get(ROLE_LABEL) != RUNNER:
        return None
    return Run(name, Basis(*json.loads(text)))


def current_run(
    test: Mapping[str, Any],
    jobs: Iterable[Object],
    basis: Basis,
    *,
    rerun: str,
    reported: str | None,
) -> Run:
    """The run to look at: one under way, one whose report is still to be told of, or a new one.

    ``jobs`` are those that aren't being ended, ``reported`` is the run whose whole report is there.
    A finished one is meant where the status is final and tells of the run returned.
    """
    status = test.get("status") or {}
    told = last_run(status)
    begun = [run for job in jobs if (run := run_of(job)) is not None]
    untold = [run for run in (told, *begun) if run is not None and run.name == reported]
    if untold and not (told == untold[0] and is_final(status)):
        return untold[0]
    if told is not None and not is_due(told.of, basis, rerun):
        return told
    for run in begun:
        if not is_due(run.of, basis, rerun) and (told is None or run.name != told.name):
            return run
    return Run(_name(test, basis, status.get("run", "")), basis)


def _name(test: Mapping[str, Any], basis: Basis, before: str) -> str:
    """Another one for each run of the test, the same however often it is asked for."""
    meta = test["metadata"]
    return digest([meta["uid"], meta["generation"], basis.text(), before])[:6]
