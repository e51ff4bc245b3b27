"""Whose turn it is where several tests want the same target."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from diffusion_operator.build.job import RUNNER
from diffusion_operator.objects import ROLE_LABEL, RUN_LABEL, Key, Object, condition_of, labels_of
from diffusion_operator.runs.basis import is_final


def is_over(job: Mapping[str, Any]) -> bool:
    """Whether the Job has ended, one way or the other."""
    ends = (condition_of(job, "Complete"), condition_of(job, "Failed"))
    return any(end is not None and end["status"] == "True" for end in ends)


def occupies(test: Mapping[str, Any], jobs: Iterable[Object]) -> bool:
    """Whether a Job of the test makes load, or is about to."""
    status = test.get("status") or {}
    return any(
        labels_of(job).get(ROLE_LABEL) == RUNNER
        and not is_over(job)
        and not job["metadata"].get("deletionTimestamp")
        and not (is_final(status) and labels_of(job).get(RUN_LABEL) == status["run"])
        for job in jobs
    )


def may_begin(
    mine: Key,
    tests: Mapping[Key, Object],
    *,
    begun: Collection[Key],
    waiting: Collection[Key],
    limit: int,
) -> bool:
    """Whether the test of that key may begin: there is room, and no older one waits for it.

    ``tests`` are all that name the target, ``begun`` those of them that occupy it, ``waiting``
    those that asked for a turn before.
    """
    others = [key for key in tests if key != mine]
    older = [key for key in others if key in waiting and _age(tests[key]) < _age(tests[mine])]
    return sum(key in begun for key in others) + len(older) < limit


def _age(test: Mapping[str, Any]) -> tuple[str, str]:
    return str(test["metadata"].get("creationTimestamp", "")), str(test["metadata"]["name"])
