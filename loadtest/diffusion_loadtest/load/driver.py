"""Applies the plan's load to an executor, stage by stage or probe by probe."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import gevent

from diffusion_loadtest.load.executor import Executor
from diffusion_loadtest.load.load_level import ArrivalRate, LoadLevel
from diffusion_loadtest.measure.clock import Clock
from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import ArrivalStage, LoadPlan, Search, Slo, Stage
from diffusion_loadtest.plan.schedule import Change, settle_seconds, user_changes
from diffusion_loadtest.plan.search import MAX_PROBES, Probe, next_level
from diffusion_loadtest.report.figures import UsersAt, Window
from diffusion_loadtest.report.judgement import probe_result
from diffusion_loadtest.report.validity import needed_samples
from diffusion_loadtest.report.windows import measured_windows

if TYPE_CHECKING:
    from diffusion_loadtest.report.load_report import Phase

PROBE_STRETCH = 3.0
"""The multiple of its length up to which a probe with too few samples continues."""

_POLL_SECONDS = 0.1
_WARMUP_POLL_SECONDS = 0.05


class WarmupResult(NamedTuple):
    """The requests of the warm-up."""

    requests: int = 0
    failures: int = 0


class Driver:
    """Drives an executor through the plan, and keeps the windows of the load."""

    def __init__(self, plan: LoadPlan, executor: Executor) -> None:
        self.clock = Clock()
        self.windows: list[Window] = []
        self.user_changes: list[UsersAt] = []
        self.probes: list[Probe] = []
        self.warmup = WarmupResult()
        self.phase: Phase | None = None
        self.rate: float | None = None
        self._plan = plan
        self._executor = executor

    @property
    def users(self) -> int:
        """Active users, without those that only finish their last request.

        In the open loop, the requests in flight.
        """
        closed = self.user_changes[-1][1] if self.user_changes else 0
        return closed if self.rate is None else self._executor.active

    @property
    def load_seconds(self) -> float:
        """The length of the load so far, without the wait for the last responses."""
        now = self.clock.seconds()
        return min(now, self.windows[-1].end) if self.windows else 0.0

    @property
    def stages(self) -> int:
        """The number of stages of the plan, or the most probes of a search."""
        if self._plan.search is not None:
            return MAX_PROBES
        return len(_stages(self._plan))

    def run(self) -> None:
        """Runs the warm-up and the load, and waits for the last responses."""
        plan = self._plan
        if plan.warmup is not None:
            self._warm_up()
        self._begin()
        self.phase = "Load"
        if plan.users is not None:
            self._run_users(plan.users.stages, plan.users.spawn_rate)
        elif plan.arrivals is not None:
            self._run_arrivals(plan.arrivals.stages)
        elif plan.search is not None and plan.slo is not None:
            self._search(plan.search, plan.slo)
        self._drain()
        self.clock.end()

    def abort(self) -> None:
        """Ends the load at once; requests in flight are neither awaited nor counted."""
        if self.windows:
            last = self.windows[-1]
            now = self.clock.seconds()
            self.windows[-1] = last._replace(begin=min(last.begin, now), end=min(last.end, now))
        self._set_users(0)
        self._executor.abort()
        self.clock.end()

    def _begin(self) -> None:
        self._executor.begin()
        self.clock.begin()

    def _warm_up(self) -> None:
        """Runs the load of the first stage for the warm-up's requests or time, then drains."""
        self.phase = "Warmup"
        self._begin()
        self._executor.apply(self._first_level())
        warmup = self._plan.warmup
        if warmup is not None and warmup.requests is not None:
            while self._completed() < warmup.requests:
                gevent.sleep(_WARMUP_POLL_SECONDS)
        elif warmup is not None and warmup.duration_seconds is not None:
            gevent.sleep(warmup.duration_seconds)
        self._executor.drain()
        parts = self._executor.samples()
        self.warmup = WarmupResult(self._completed(), sum(part.failures for part in parts))

    def _first_level(self) -> LoadLevel:
        plan = self._plan
        if plan.users is not None:
            return LoadLevel(stage=0, users=plan.users.stages[0].users)
        if plan.arrivals is not None:
            return self._arrival_level(0, plan.arrivals.stages[0].rate_per_second, 0.0, None)
        if plan.search is not None and plan.search.over == "rate":
            return self._arrival_level(0, plan.search.min, 0.0, None)
        return LoadLevel(stage=0, users=int(plan.search.min) if plan.search else 0)

    def _run_users(self, stages: Sequence[Stage], spawn_rate: float) -> None:
        begin = 0.0
        windows = []
        for index, stage in enumerate(stages):
            end = begin + stage.duration_seconds
            windows.append(Window(index, begin, end, stage.users))
            begin = end
        self._follow(user_changes(stages, spawn_rate), windows)
        self._finish_last_stage()

    def _follow(self, changes: Iterable[Change], windows: Sequence[Window]) -> None:
        """Applies each change when it is due; changes that are due at once are applied as one."""
        due: Change | None = None
        for change in changes:
            if due is not None and change.at > self.clock.seconds():
                self._apply(due, windows)
                self._sleep_until(change.at)
            due = change
        if due is not None:
            self._sleep_until(due.at)
            self._apply(due, windows)

    def _apply(self, change: Change, windows: Sequence[Window]) -> None:
        # a stage that ended before its first change was applied has a window all the same
        self.windows += windows[len(self.windows) : change.stage + 1]
        measured_from = None if self._plan.search is None else windows[change.stage].begin
        self._executor.apply(
            LoadLevel(stage=change.stage, measured_from=measured_from, users=change.users)
        )
        self._set_users(change.users)

    def _run_arrivals(self, stages: Sequence[ArrivalStage]) -> None:
        begin = 0.0
        for index, stage in enumerate(stages):
            end = begin + stage.duration_seconds
            self._sleep_until(begin)
            # the last stage continues where the plan sets a number of requests
            last = index == len(stages) - 1 and self._plan.min_requests is not None
            self.rate = stage.rate_per_second
            self.windows.append(Window(index, begin, end, 0, self.rate))
            self._executor.apply(
                self._arrival_level(index, self.rate, begin, None if last else end)
            )
            begin = end
        self._finish_last_stage()

    def _finish_last_stage(self) -> None:
        """Waits for the last stage's end, and until its window has the plan's requests."""
        window = measured_windows(self._plan, self.windows, self.user_changes)[-1]
        self._sleep_until(window.start)
        # none of the requests in flight started in the window
        before = self._completed() + self._executor.active
        self._sleep_until(window.end)
        least = self._plan.min_requests
        while least is not None and self._completed() - before < least:
            gevent.sleep(_POLL_SECONDS)
            self.windows[-1] = self.windows[-1]._replace(
                end=max(self.windows[-1].end, self.clock.seconds())
            )

    def _search(self, search: Search, slo: Slo) -> None:
        while (level := next_level(search, self.probes)) is not None:
            self.phase = "Probe"
            self._probe(search, level, needed_samples(slo))
            self._drain()
            window = self.windows[-1]
            result = probe_result(search, slo, self._samples_of(window), window, level)
            self.probes.append(result)

    def _probe(self, search: Search, level: float, needed: int) -> None:
        """Probes one level: settles, then measures for the plan's time or until samples suffice."""
        start, stage = self.clock.seconds(), len(self.windows)
        settle = settle_seconds(search.probe_seconds)
        begin = start + settle
        end = begin + search.probe_seconds
        if search.over == "rate":
            self.rate = level
            self.windows.append(Window(stage, begin, end, 0, level))
            arrivals = self._arrival_level(stage, level, start, None)
            self._executor.apply(arrivals.model_copy(update={"measured_from": begin}))
        else:
            window = Window(stage, begin, end, int(level))
            # all users start in the first half of the settling
            ramp = user_changes(
                (Stage(users=int(level), duration_seconds=settle),), level * 2 / settle
            )
            self._follow(
                (Change(start + change.at, stage, change.users) for change in ramp),
                [*self.windows, window],
            )
        self._sleep_until(begin)
        before = self._successes()
        self._sleep_until(end)
        while (
            self._successes() - before < needed
            and self.clock.seconds() < begin + PROBE_STRETCH * search.probe_seconds
        ):
            gevent.sleep(_POLL_SECONDS)
        self.windows[stage] = self.windows[stage]._replace(end=self.clock.seconds())

    def _samples_of(self, window: Window) -> Samples:
        """The samples of a stage that is over."""
        return Samples.merged(part.of_stage(window.stage) for part in self._executor.samples())

    def _arrival_level(self, stage: int, rate: float, begin: float, end: float | None) -> LoadLevel:
        distribution: Literal["poisson", "constant"] = (
            self._plan.arrivals.distribution if self._plan.arrivals is not None else "poisson"
        )
        arrivals = ArrivalRate(
            rate_per_second=rate, distribution=distribution, begin=begin, end=end
        )
        return LoadLevel(stage=stage, arrivals=arrivals)

    def _drain(self) -> None:
        self.phase = "Draining"
        self._set_users(0)
        self._executor.drain()

    def _set_users(self, users: int) -> None:
        if self.rate is None:
            self.user_changes.append((self.clock.seconds(), users))

    def _sleep_until(self, seconds: float) -> None:
        gevent.sleep(max(0.0, seconds - self.clock.seconds()))

    def _completed(self) -> int:
        return sum(map(len, self._executor.samples()))

    def _successes(self) -> int:
        return self._completed() - sum(part.failures for part in self._executor.samples())


def _stages(plan: LoadPlan) -> Sequence[Stage | ArrivalStage]:
    load = plan.users or plan.arrivals
    return load.stages if load is not None else ()
