"""Overload by a trend: a queue that grows too slowly for the number of responses to show it."""

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.report.figures import Window
from diffusion_loadtest.report.overload import overload

RATE = 20.0
SECONDS = 60.0
BEGIN = 12.0
"""Second at which the window begins, after the settling."""


def one_by_one(capacity: float) -> Samples:
    """Responses of a server that takes one request after the other; one is due each 1/RATE s."""
    samples, free = Samples(), 0.0
    for number in range(round(RATE * SECONDS)):
        due = number / RATE
        free = max(free, due) + 1 / capacity
        samples.record(Sample(free, free - due, 0, SUCCESS))
    return samples


@pytest.mark.parametrize("capacity", [19.7, 19.8])
def test_a_queue_that_grows_slowly_is_overload_by_its_trend(capacity: float) -> None:
    """The queue grows by 0.2 requests/s at least, which is 1 % of what arrives."""
    window = Window(0, 0.0, SECONDS, 0, RATE, measured=BEGIN)
    reason = overload(one_by_one(capacity), window)
    assert reason is not None
    assert "the latency grew" in reason


@pytest.mark.parametrize("capacity", [20.2, 25.0])
def test_a_server_above_the_rate_has_no_trend(capacity: float) -> None:
    window = Window(0, 0.0, SECONDS, 0, RATE, measured=BEGIN)
    assert overload(one_by_one(capacity), window) is None
