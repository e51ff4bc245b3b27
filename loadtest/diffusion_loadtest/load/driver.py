"""Carries the plan's load out, stage by stage or probe by probe, by a crew of whatever kind."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import gevent

from diffusion_loadtest.load.executor import Executor
from diffusion_loadtest.load.load_level import ArrivalOrder, Order
from diffusion_loadtest.measure.clock import Clock
from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import ArrivalStage, LoadPlan, Search, Slo, Stage
from diffusion_loadtest.plan.schedule import Change, user_changes
from diffusion_loadtest.plan.search import MAX_PROBES, Probed, next_level
from diffusion_loadtest.report.figures import UsersAt, Window, stage_figures
from diffusion_loadtest.report.load_report import Percentiles, Phase, StageFigures
from diffusion_loadtest.report.slo import judge
from diffusion_loadtest.report.validity import needed_samples

SETTLE_SHARE = 0.2
"""A probe settles for this share of its length before it is measured."""
MOST_SETTLE_SECONDS = 15.0
PROBE_STRETCH = 3.0
"""A probe with too few samples goes on up to so many times its length."""

_LOOK_SECONDS = 0.1
_WARMUP_LOOK_SECONDS = 0.05


class WarmedUp(NamedTuple):
    """What came of the warm-up."""

    requests: int = 0
    failures: int = 0


class Driver:
    """Drives a crew, and keeps what it did when."""

    def __init__(self, plan: LoadPlan, crew: Executor) -> None:
        self.clock = Clock()
        self.windows: list[Window] = []
        self.user_changes: list[UsersAt] = []
        self.probed: list[Probed] = []
        self.warmed_up = WarmedUp()
        self.phase: Phase | None = None
        self.rate: float | None = None
        self._plan = plan
        self._crew = crew

    @property
    def users(self) -> int:
        """How many users are at work, not those who only finish their last request; in the open
        loop how many requests are in flight.
        """
        closed = self.user_changes[-1][1] if self.user_changes else 0
        return closed if self.rate is None else self._crew.busy

    @property
    def load_seconds(self) -> float:
        """How long there was load, without the wait for the last answers."""
        now = self.clock.seconds()
        return min(now, self.windows[-1].end) if self.windows else 0.0

    @property
    def stages(self) -> int:
        """How many stages there are to be, or how many probes at most."""
        if self._plan.search is not None:
            return MAX_PROBES
        return len(_stages(self._plan))

    def run(self) -> None:
        """Run the warm-up and the load, and await the answers still on their way."""
        plan = self._plan
        if plan.warmup is not None:
            self._warm_up()
        self._begin()
        self.phase = "Load"
        if plan.users is not None:
            self._serve_users(plan.users.stages, plan.users.spawn_rate)
        elif plan.arrivals is not None:
            self._let_arrive(plan.arrivals.stages)
        elif plan.search is not None and plan.slo is not None:
            self._search(plan.search, plan.slo)
        self._drain()
        self.clock.end()

    def abort(self) -> None:
        """Stop at once: requests without an answer are neither awaited nor counted."""
        if self.windows:
            last = self.windows[-1]
            now = self.clock.seconds()
            self.windows[-1] = last._replace(begin=min(last.begin, now), end=min(last.end, now))
        self._set_users(0)
        self._crew.abort()
        self.clock.end()

    def _begin(self) -> None:
        self._crew.begin()
        self.clock.begin()

    def _warm_up(self) -> None:
        """The load of the first stage, for so many requests or so long, and then silence."""
        self.phase = "Warmup"
        self._begin()
        self._crew.obey(self._first_order())
        warmup = self._plan.warmup
        if warmup is not None and warmup.requests is not None:
            while self._ended() < warmup.requests:
                gevent.sleep(_WARMUP_LOOK_SECONDS)
        elif warmup is not None and warmup.duration_seconds is not None:
            gevent.sleep(warmup.duration_seconds)
        self._crew.drain()
        parts = self._crew.recorded()
        self.warmed_up = WarmedUp(self._ended(), sum(part.failures for part in parts))

    def _first_order(self) -> Order:
        plan = self._plan
        if plan.users is not None:
            return Order(stage=0, users=plan.users.stages[0].users)
        if plan.arrivals is not None:
            return self._arrival_order(0, plan.arrivals.stages[0].rate_per_second, 0.0, None)
        if plan.search is not None and plan.search.over == "rate":
            return self._arrival_order(0, plan.search.min, 0.0, None)
        return Order(stage=0, users=int(plan.search.min) if plan.search else 0)

    def _serve_users(self, stages: Sequence[Stage], spawn_rate: float) -> None:
        begin = 0.0
        windows = []
        for index, stage in enumerate(stages):
            end = begin + stage.duration_seconds
            windows.append(Window(index, begin, end, stage.users))
            begin = end
        self._follow(user_changes(stages, spawn_rate), windows)
        self._sleep_until(begin)
        self._prolong()

    def _follow(self, changes: Iterable[Change], windows: Sequence[Window]) -> None:
        """Make each change when it is due; those that are due at once are made as one."""
        due: Change | None = None
        for change in changes:
            if due is not None and change.at > self.clock.seconds():
                self._make(due, windows)
                self._sleep_until(change.at)
            due = change
        if due is not None:
            self._sleep_until(due.at)
            self._make(due, windows)

    def _make(self, change: Change, windows: Sequence[Window]) -> None:
        # a stage that was over before its first change could be made has been, all the same
        self.windows += windows[len(self.windows) : change.stage + 1]
        measured_from = None if self._plan.search is None else windows[change.stage].begin
        self._crew.obey(Order(stage=change.stage, measured_from=measured_from, users=change.users))
        self._set_users(change.users)

    def _let_arrive(self, stages: Sequence[ArrivalStage]) -> None:
        begin = 0.0
        for index, stage in enumerate(stages):
            end = begin + stage.duration_seconds
            self._sleep_until(begin)
            # the last one goes on where a number of requests is to be reached
            last = index == len(stages) - 1 and self._plan.min_requests is not None
            self.rate = stage.rate_per_second
            self.windows.append(Window(index, begin, end, 0, self.rate))
            self._crew.obey(self._arrival_order(index, self.rate, begin, None if last else end))
            begin = end
        self._sleep_until(begin)
        self._prolong()

    def _prolong(self) -> None:
        """Keep the last stage going until the plan's number of requests is reached."""
        least = self._plan.min_requests
        if least is None:
            return
        while self._ended() < least:
            gevent.sleep(_LOOK_SECONDS)
            self.windows[-1] = self.windows[-1]._replace(
                end=max(self.windows[-1].end, self.clock.seconds())
            )

    def _search(self, search: Search, slo: Slo) -> None:
        while (level := next_level(search, self.probed)) is not None:
            self.phase = "Probe"
            self._probe(search, level, needed_samples(slo))
            self._drain()
            figures = self.figures_of(self.windows[-1])
            self.probed.append(Probed(level, within(slo, figures)))

    def _probe(self, search: Search, level: float, needed: int) -> None:
        """One level: settle, then measure as long as the plan says, or until there are enough."""
        begun, stage = self.clock.seconds(), len(self.windows)
        settle = min(search.probe_seconds * SETTLE_SHARE, MOST_SETTLE_SECONDS)
        begin = begun + settle
        end = begin + search.probe_seconds
        if search.over == "rate":
            self.rate = level
            self.windows.append(Window(stage, begin, end, 0, level))
            order = self._arrival_order(stage, level, begun, None)
            self._crew.obey(order.model_copy(update={"measured_from": begin}))
        else:
            window = Window(stage, begin, end, int(level))
            # all users come in the first half of the settling
            ramp = user_changes(
                (Stage(users=int(level), duration_seconds=settle),), level * 2 / settle
            )
            self._follow(
                (Change(begun + change.at, stage, change.users) for change in ramp),
                [*self.windows, window],
            )
        self._sleep_until(begin)
        before = self._succeeded()
        self._sleep_until(end)
        while (
            self._succeeded() - before < needed
            and self.clock.seconds() < begin + PROBE_STRETCH * search.probe_seconds
        ):
            gevent.sleep(_LOOK_SECONDS)
        self.windows[stage] = self.windows[stage]._replace(end=self.clock.seconds())

    def figures_of(self, window: Window) -> StageFigures:
        """The figures of one stage that is over."""
        parts = [part.of_stage(window.stage) for part in self._crew.recorded()]
        return stage_figures(Samples.merged(parts), window)

    def _arrival_order(self, stage: int, rate: float, begin: float, end: float | None) -> Order:
        distribution: Literal["poisson", "constant"] = (
            self._plan.arrivals.distribution if self._plan.arrivals is not None else "poisson"
        )
        arrivals = ArrivalOrder(
            rate_per_second=rate, distribution=distribution, begin=begin, end=end
        )
        return Order(stage=stage, arrivals=arrivals)

    def _drain(self) -> None:
        self.phase = "Draining"
        self._set_users(0)
        self._crew.drain()

    def _set_users(self, users: int) -> None:
        if self.rate is None:
            self.user_changes.append((self.clock.seconds(), users))

    def _sleep_until(self, seconds: float) -> None:
        gevent.sleep(max(0.0, seconds - self.clock.seconds()))

    def _ended(self) -> int:
        return sum(map(len, self._crew.recorded()))

    def _succeeded(self) -> int:
        return self._ended() - sum(part.failures for part in self._crew.recorded())


def within(slo: Slo, figures: StageFigures) -> bool:
    """Whether a stage's figures are as good as they should be."""
    latencies = Percentiles(p50=figures.p50, p95=figures.p95, p99=figures.p99)
    return judge(slo, latencies, figures.failure_ratio, figures.requests_per_second).met


def _stages(plan: LoadPlan) -> Sequence[Stage | ArrivalStage]:
    load = plan.users or plan.arrivals
    return load.stages if load is not None else ()
