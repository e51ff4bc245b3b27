"""Which of the waiting jobs share the next call of the pipeline. Pure: no clock, no lock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from diffusion_serving.engine.generation import BatchKey
from diffusion_serving.engine.jobs import Job


@dataclass(frozen=True)
class Batching:
    """How batches are formed.

    `max_wait` is how many seconds a batch's oldest job may wait for others to fill it. With
    `one_job` no two jobs share a batch.
    """

    max_images: int = 8
    max_wait: float = 0.0
    one_job: bool = False


@dataclass
class _Group:
    """Jobs of one batch key, oldest first; `full` where more would not fit."""

    jobs: list[Job] = field(default_factory=list)
    images: int = 0
    full: bool = False

    def add(self, job: Job, room: int, batching: Batching) -> None:
        """Takes the job if it fits; the first always, however many images it wants."""
        images = self.images + job.generation.images
        if not self.jobs or (images <= room and not batching.one_job):
            self.jobs.append(job)
            self.images = images
        else:
            self.full = True
        self.full |= self.images >= room or batching.one_job


def next_batch(
    waiting: Sequence[Job], batching: Batching, cap: Callable[[BatchKey], int], now: float
) -> tuple[Sequence[Job], float]:
    """The jobs to do now; or none, and the time at which some will have waited long enough.

    The oldest job decides the batch key, and nobody younger goes before it but those that share
    its batch. So a lone request waits for no more than what was there before it, however fast
    requests of another key arrive. Only while it waits for its batch to be filled may a younger
    one that is full go ahead.

    Args:
        waiting: oldest first.
        batching: the service's.
        cap: the most images of a key that the device has memory for.
        now: on the clock of `Job.submitted`.

    """
    groups: dict[BatchKey, _Group] = {}
    for job in waiting:
        key = job.generation.key
        room = min(batching.max_images, cap(key))
        groups.setdefault(key, _Group()).add(job, room, batching)
    soonest = float("inf")
    for group in groups.values():
        due = group.jobs[0].submitted + batching.max_wait
        if group.full or due <= now:
            return group.jobs, now
        soonest = min(soonest, due)
    return (), soonest
