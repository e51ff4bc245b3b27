"""What the driver tells those who make the load; each order takes the place of the one before."""

from diffusion_loadtest.plan.documents import Document
from diffusion_loadtest.plan.load_plan import Distribution


class ArrivalOrder(Document):
    """Requests are due at `rate_per_second` from `begin` on, up to `end` or until further notice.

    The rate is that of all workers; this one is number `index` of `of`.
    """

    rate_per_second: float
    distribution: Distribution
    begin: float
    end: float | None
    index: int = 0
    of: int = 1


class Order(Document):
    """So many users, or such arrivals, from now on; times are seconds into the load.

    Requests begun from now on belong to `stage`. Those begun before `measured_from`, if that is
    given, are left out of the figures.
    """

    stage: int
    measured_from: float | None = None
    users: int = 0
    arrivals: ArrivalOrder | None = None


def share(order: Order, index: int, of: int) -> Order:
    """What worker `index` of `of` has to do so that all of them together do what `order` says."""
    users = order.users // of + (index < order.users % of)
    arrivals = order.arrivals and order.arrivals.model_copy(update={"index": index, "of": of})
    return order.model_copy(update={"users": users, "arrivals": arrivals})
