"""Load levels, which the driver applies to an executor; each replaces the one before."""

from diffusion_loadtest.plan.documents import Document
from diffusion_loadtest.plan.load_plan import Distribution


class ArrivalRate(Document):
    """Arrivals at `rate_per_second` from `begin` on, up to `end` or until further notice.

    The rate is that of all workers together; this process is number `index` of `of`.
    """

    rate_per_second: float
    distribution: Distribution
    begin: float
    end: float | None
    index: int = 0
    of: int = 1


class LoadLevel(Document):
    """A number of users, or a rate of arrivals; times are seconds into the load.

    Requests that start at this level belong to `stage`. Requests that start before
    `measured_from` are left out of the figures.
    """

    stage: int
    measured_from: float | None = None
    users: int = 0
    arrivals: ArrivalRate | None = None


def worker_share(level: LoadLevel, index: int, of: int) -> LoadLevel:
    """The part of a level that worker `index` of `of` applies; all parts make the level."""
    users = level.users // of + (index < level.users % of)
    arrivals = level.arrivals and level.arrivals.model_copy(update={"index": index, "of": of})
    return level.model_copy(update={"users": users, "arrivals": arrivals})
