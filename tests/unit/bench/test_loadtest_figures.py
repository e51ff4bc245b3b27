"""The bench's rates, from the record of a target whose rate is known."""

import pytest

from known_target import Served
from loadtest_runner import CLOSED, OPEN, RATE, USERS, arrival_rate, demand, slope


def closed_loop(seconds: float, took: float, stragglers: int = 0) -> list[Served]:
    """The record of users who send a request after each response, each at its own phase."""
    served = []
    for user in range(USERS):
        begin = user * took / USERS
        count = int((seconds - begin) / took)
        served += [
            Served(100 + begin + n * took, 100 + begin + (n + 1) * took, took, 200, None)
            for n in range(count)
        ]
    late = [Served(100 + seconds - 0.1, 130 + seconds, 30.0, 200, None) for _ in range(stragglers)]
    return [*served, *late]


def test_three_definitions_of_a_rate_agree_where_the_load_is_steady() -> None:
    served = closed_loop(30.0, 0.5)
    truth = USERS / 0.5
    assert arrival_rate(served, 30.0) == pytest.approx(truth, rel=0.02)
    assert slope(served, 106.0, 24.0) == pytest.approx(truth, rel=0.001)
    assert demand(served, CLOSED, 106.0) == pytest.approx(truth, rel=0.001)


def test_stragglers_change_no_rate() -> None:
    assert arrival_rate(closed_loop(30.0, 0.5, 10), 30.0) == arrival_rate(
        closed_loop(30.0, 0.5), 30.0
    )


def test_open_loops_demand_is_its_rate_without_the_failures() -> None:
    served = [
        Served(n / 40, n / 40 + 3.0, 3.0, 500 if n % 4 == 0 else 200, None) for n in range(1200)
    ]
    assert demand(served, OPEN, 0.0) == pytest.approx(0.75 * RATE)
