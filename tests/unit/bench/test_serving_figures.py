"""Calculation of the figures of serving; the measurements themselves need a quiet machine."""

import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.report.figures import Window, arrival_rate
from figures import Figure, exit_code
from ports import free_port
from serving import measure, turns
from serving.bare import Bare
from serving.client import Load, rate
from serving.measure import shares
from serving.subjects import Conditions, NotUp
from serving.turns import Plan, Seen, Turn, take_turns, turn_of

LOAD = Load(requests_per_second=15.0, failures=0, p50=0.5, client_cores=0.02, answer_bytes=50e3)
QUICK = Conditions(stand_in=0.01)
PLAN = Plan(users=2, sizes=[1, 8], rounds=3, load_seconds=10.0, bare_seconds=4.0)


def _turn(served: float, limit: float) -> Turn:
    return Turn(replace(LOAD, requests_per_second=served), bare_rate=limit, bare_p50=0.4)


def _figure(figures: Sequence[Figure], name: str, subject: str) -> Figure:
    (figure,) = (f for f in figures if f.figure == name and f.subject == subject)
    return figure


@pytest.mark.parametrize("begin", [1.6, 1.75, 1.99])
def test_the_rate_of_answers_that_come_in_batches_is_that_of_the_batches(begin: float) -> None:
    ends = [batch * 0.5 + place * 1e-4 for batch in range(24) for place in range(8)]
    assert rate(ends, begin, begin + 8.0) == pytest.approx(16.0, rel=0.001)


def test_the_rate_is_the_load_tests_for_answers_one_by_one() -> None:
    samples, chance = Samples(), random.Random(1)
    ends = list(accumulate(chance.expovariate(50.0) for _ in range(1000)))
    for end in ends:
        samples.record(Sample(end, 0.01, 0, SUCCESS))
    product = arrival_rate(samples, Window(0, 2.0, 18.0, 1))
    assert rate(ends, 2.0, 18.0) == pytest.approx(product, rel=0.01)


@pytest.mark.parametrize("ends", [[], [1.0], [12.0, 13.0]])
def test_there_is_no_rate_without_an_answer_in_the_window(ends: Sequence[float]) -> None:
    assert rate(ends, 2.0, 10.0) == 0.0


def test_the_first_window_starts_without_an_answer_before_it() -> None:
    assert rate([2.5, 3.0, 3.5, 4.0], 2.0, 4.2) == pytest.approx(2.0)


def test_a_turn_stands_beside_the_mean_of_before_and_after() -> None:
    before, after = Bare({8: 14.0}, {8: 0.6}), Bare({8: 16.0}, {8: 0.5})
    turn = turn_of(LOAD, before, after, 8)
    assert turn.share == pytest.approx(1.0)
    assert turn.added_ms == pytest.approx(-50.0)


def test_a_backend_is_held_against_the_best_peer_of_the_same_round() -> None:
    seen = Seen(
        {8: 16.0},
        {
            # The machine slows down from round to round; the backend is 2% ahead in each.
            "fastapi": [_turn(15.3, 15.0), _turn(10.2, 10.0), _turn(7.14, 7.0)],
            "stock LitServe": [_turn(15.0, 15.0), _turn(10.0, 10.0), _turn(7.0, 7.0)],
            "plain sync FastAPI": [_turn(5.0, 15.0), _turn(4.0, 10.0), _turn(3.0, 7.0)],
        },
        {},
    )
    figures = shares(seen, QUICK)
    beside = _figure(figures, "served-over-best-peer", f"fastapi, {QUICK.name}")
    assert beside.value == pytest.approx(1.02)
    assert beside.met
    assert "stock LitServe" in beside.against
    own = _figure(figures, "served-over-bare", f"fastapi, {QUICK.name}")
    assert own.value == pytest.approx(1.02)
    assert _figure(figures, "served-over-bare", f"stock LitServe, {QUICK.name}").met is None


class _Pipeline:
    """A fake of the pipeline alone: the next rate of a list at each measurement."""

    def __init__(self, rates: Iterator[float]) -> None:
        self._rates = rates

    def measure(self, sizes: Sequence[int], seconds: float) -> Bare:  # noqa: ARG002 - a fake
        speed = next(self._rates)
        return Bare({size: size * speed for size in sizes}, dict.fromkeys(sizes, 1 / speed))


@dataclass(frozen=True)
class _Subject:
    """A fake subject that records when it may compute."""

    port: int
    awake_now: set[int]

    @contextmanager
    def awake(self) -> Iterator[None]:
        self.awake_now.add(self.port)
        try:
            yield
        finally:
            self.awake_now.remove(self.port)


def test_subjects_take_turns_one_awake_at_a_time_and_one_that_fails_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["never up", "up", "up as well", "ends in the second round"]
    awake_now: set[int] = set()
    measured_ports: list[int] = []

    @contextmanager
    def started(name: str, _: Conditions) -> Iterator[_Subject]:
        if name == "never up":
            raise NotUp("the subject exited with 3")
        yield _Subject(names.index(name), awake_now)

    def load_by_users(port: int, _: Plan) -> Load:
        assert awake_now == {port}
        measured_ports.append(port)
        is_second = measured_ports.count(port) == 2
        if port == names.index("ends in the second round") and is_second:
            raise NotUp("the load client exited with 1")
        return LOAD

    rates = itertools.count(1.0)
    monkeypatch.setattr(turns, "alone", lambda _: nullcontext(_Pipeline(rates)))
    monkeypatch.setattr(turns, "started", started)
    monkeypatch.setattr(turns, "load_by_users", load_by_users)
    seen = take_turns(QUICK, names, PLAN)
    assert seen.failures == {
        "never up": "the subject exited with 3",
        "ends in the second round": "the load client exited with 1",
    }
    assert {name: len(each) for name, each in seen.turns.items()} == {"up": 3, "up as well": 3}
    # The bare rate is the mean of those right before and right after, in batches of the best size.
    order = [names[port] for port in measured_ports]
    first = next(name for name in order if name in seen.turns)
    place = order.index(first)
    assert seen.turns[first][0].bare_rate == 8 * (2 + place + 0.5)


def test_a_bench_with_a_failed_measurement_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Seen({8: 16.0}, {}, {"litserve": "the subject exited"})
    monkeypatch.setattr(measure, "take_turns", lambda *_: missing)
    figures = measure.measure(["model", "one-user"], ["litserve"])
    assert [(figure.subject, figure.met) for figure in figures] == [("litserve", False)] * 2
    assert exit_code(figures) == 1
    assert exit_code([Figure("too slow", "litserve", 9.0, "ms", goal=5.0)]) == 0


def test_a_subjects_port_is_outside_of_the_ranges_of_ray_and_the_kernel() -> None:
    ports = [free_port() for _ in itertools.repeat(None, 20)]
    assert all(20000 <= port < 30000 for port in ports)
