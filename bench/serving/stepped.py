"""The figures of scheduling by steps, beside whole calls of the same stand-in in the same run."""

import json
import statistics
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import product

from prometheus_client.parser import text_string_to_metric_families

from figures import Figure, failure
from serving.arrivals import LONG, SHARE, SHORT
from serving.client import Load
from serving.prompts import prompt
from serving.stepped_stand_in import StepCost
from serving.subjects import Conditions, NotUp, Subject, client_output, started
from serving.turns import show
from serving.whole_calls import WHOLE_CALLS

CAP = 8
FIXED = StepCost(0.125)
"""The cost of a step whatever its size: 0.5 s an image of 4 steps, 16 images/s at most."""
COSTS = {"sublinear": StepCost(0.04, 0.0075), "linear": StepCost(0.0, 0.025)}
WAYS = ("steps", "calls")
STEPS, GUIDANCE = (3, 4, 5, 6), (1.0, 2.5, 5.0, 7.5, 9.0)
LOAD_SECONDS = 12.0
MIXED_SECONDS = 100.0
DEMO_ROUNDS, DEMO_SECONDS = 3, 6.0
DEMO = {"steps": Conditions(cap=CAP), "calls": Conditions(stand_in=WHOLE_CALLS, cap=CAP)}
"""The demo model by each way."""


def measure(_: Sequence[str] = ()) -> list[Figure]:
    """The figures of the backend fastapi, one replica: the engine is the same in each backend."""
    try:
        return [*_few_users(), _demo_model(), *_mixed_settings(), *_mixed_loads()]
    except NotUp as error:
        return [failure("scheduling by steps", "fastapi", str(error))]


@contextmanager
def _served(cost: StepCost, way: str) -> Iterator[Subject]:
    conditions = Conditions(stand_in=f"{cost.flag}/{way}", cap=CAP)
    with started("fastapi", conditions) as subject, subject.awake():
        yield subject


def _few_users() -> list[Figure]:
    seen: dict[str, dict[int, Load]] = {}
    for way in WAYS:
        with _served(FIXED, way) as subject:
            seen[way] = {users: _closed_loop(subject.port, users) for users in (4, 12)}
        show(f"{way}: {seen[way]}")
    alone, bound = SHORT * FIXED.fixed, CAP / (SHORT * FIXED.fixed)
    latency = {way: seen[way][4].p50 / alone for way in WAYS}
    occupancy = {way: seen[way][12].requests_per_second / bound for way in WAYS}
    return [
        Figure("latency-4-users", "fastapi", latency["steps"], "", goal=1.2,
               against=f"whole calls {latency['calls']:.3g}"),
        Figure("occupancy-12-users", "fastapi", occupancy["steps"], "", goal=0.95, at_least=True,
               against=f"whole calls {occupancy['calls']:.3g}"),
    ]  # fmt: skip


def _demo_model() -> Figure:
    """The p50 of four users of the demo model; the two ways take turns at the cores."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        subjects = {way: stack.enter_context(started("fastapi", DEMO[way])) for way in WAYS}
        for _ in range(DEMO_ROUNDS):
            for way, subject in subjects.items():
                with subject.awake():
                    load = _closed_loop(subject.port, 4, DEMO_SECONDS)
                seconds[way].append(load.p50)
                show(f"{DEMO['steps'].name}, {way}: {load}")
    own, calls = (statistics.median(seconds[way]) for way in WAYS)
    return Figure("latency-4-users", "fastapi, demo model", own / calls, "", goal=1.0,
                  against=f"{own:.3g} s; whole calls {calls:.3g} s")  # fmt: skip


def _mixed_settings() -> list[Figure]:
    shares = {}
    for way in WAYS:
        with _served(FIXED, way) as subject:
            before = _batches(subject.port)
            _all_at_once(subject.port)
            images, calls = (
                after - earlier
                for after, earlier in zip(_batches(subject.port), before, strict=True)
            )
            shares[way] = images / calls / CAP
    return [
        Figure("mixed-settings-batch", "fastapi", shares["steps"], "", goal=0.75, at_least=True,
               against=f"whole calls {shares['calls']:.3g}")
    ]  # fmt: skip


def _mixed_loads() -> list[Figure]:
    figures = []
    for name, cost in COSTS.items():
        seen = _side_by_side(cost)
        show(f"{name} cost: {seen}")
        for row, steps, goal in (("short", SHORT, 0.34), ("long", LONG, 1.0)):
            own, calls = (seen[way][str(steps)] for way in WAYS)
            figures.append(
                Figure(f"mixed-{row}-p95", f"fastapi, {name} cost", own / calls, "", goal=goal,
                       against=f"{own:.3g} s; whole calls {calls:.3g} s")
            )  # fmt: skip
    return figures


def _side_by_side(cost: StepCost) -> dict[str, Mapping[str, float]]:
    """The p95 by step count of each way, measured at the same time: a stand-in needs no core."""
    with ExitStack() as stack, ThreadPoolExecutor(len(WAYS)) as threads:
        ports = [stack.enter_context(_served(cost, way)).port for way in WAYS]
        loads = threads.map(lambda port: _open_loop(port, half_load(cost)), ports)
        return dict(zip(WAYS, loads, strict=True))


def half_load(cost: StepCost) -> float:
    """Half of the requests per second that the stand-in can make at best."""
    steps = SHARE * SHORT + (1 - SHARE) * LONG
    return max(size / cost.seconds(size) for size in range(1, CAP + 1)) / steps / 2


def _closed_loop(port: int, users: int, seconds: float = LOAD_SECONDS) -> Load:
    flags = ("--port", str(port), "--users", str(users), "--seconds", str(seconds))
    return Load(**client_output("serving.client", *flags))


def _open_loop(port: int, rate: float) -> Mapping[str, float]:
    flags = ("--port", str(port), "--rate", str(rate), "--seconds", str(MIXED_SECONDS))
    return client_output("serving.arrivals", *flags)


def _all_at_once(port: int) -> None:
    """Sends 64 requests of four step counts and five guidance scales at the same time."""
    settings = [pair for _, pair in zip(range(64), _endless(), strict=False)]

    def send(number: int) -> None:
        steps, guidance = settings[number]
        fields = {"prompt": prompt(number), "steps": steps, "guidance_scale": guidance}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict",
            json.dumps(fields).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
            answer.read()

    with ThreadPoolExecutor(len(settings)) as threads:
        list(threads.map(send, range(len(settings))))


def _endless() -> Iterator[tuple[int, float]]:
    while True:
        yield from product(STEPS, GUIDANCE)


def _batches(port: int) -> tuple[float, float]:
    """The images in all steps or calls so far, and the number of these."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = {sample.name: sample.value for family in families for sample in family.samples}
    return samples["diffusion_batch_size_sum"], samples["diffusion_batch_size_count"]
