"""Reconciler of a Comparison: one variant at a time on the hardware.

The runs in the status decide the next step. A step's figures are in the status before its service
is deleted, so a killed operator resumes there.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from pydantic import ValidationError

from diffusion_operator.api.comparison import ComparisonSpec, Run
from diffusion_operator.api.fields import seconds
from diffusion_operator.api.loadtest import ReportRef
from diffusion_operator.api.observed import ObservedLoadTest, ObservedRun
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.analysis.design import design
from diffusion_operator.comparison.analysis.measurements import Report, moment
from diffusion_operator.comparison.analysis.report import REPORT_KEY, comparison_report, report_name
from diffusion_operator.comparison.analysis.results import Table
from diffusion_operator.comparison.schedule import (
    InvalidVariantError,
    Schedule,
    Step,
    recorded,
    run_of,
    service_name,
    variants_of,
)
from diffusion_operator.comparison.status import Observed, comparison_status, table_of
from diffusion_operator.comparison.variant_run import VariantRun, is_of, is_over, report_of
from diffusion_operator.kube.admission import Admission
from diffusion_operator.kube.applier import LOOK_AGAIN_SECONDS, Applier, NameTakenError, sooner
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, message_of
from diffusion_operator.kube.objects import (
    RUN_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    is_owned,
    key_of,
    labels_of,
)
from diffusion_operator.kube.problems import LastingFailures, invalid_spec, is_refusal
from diffusion_operator.settings import Settings

LEAVING_SECONDS = 1.0
"""Delay between two checks of terminating pods, whose events wake their own service only."""


class ExclusiveLock(Admission):
    """Lock on a namespace's hardware for one Comparison: two would measure each other."""

    queued_state = RunState.WAITING

    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self._cache = cache

    def ask(self, comparison: Object) -> str | None:
        """Take the lock, or name the Comparison that has it or has waited for it longer."""
        key = key_of(comparison)
        known = {key_of(each): each for each in self._cache.all("Comparison")}
        rivals = {
            other: obj
            for other, obj in known.items()
            if other.namespace == key.namespace and self._competes(other, obj)
        }
        first = self.admit(key, key.name, {**rivals, key: comparison})
        return first[0].name if first else None

    def holds(self, key: Key, obj: Object) -> bool:
        """Whether the Comparison has the lock, or its status shows an active run."""
        return key in self._admitted or ObservedRun.of(obj).state.is_active

    def _competes(self, key: Key, obj: Object) -> bool:
        """Whether others wait for it: a Comparison under deletion never begins."""
        return not obj["metadata"].get("deletionTimestamp") or self.holds(key, obj)


class ComparisonReconciler:
    """Reconciler that runs one Comparison to its result."""

    def __init__(
        self, cache: Cache, applier: Applier, settings: Settings, now: Callable[[], str]
    ) -> None:
        self._cache = cache
        self._applier = applier
        self._now = now
        self._settings = settings
        self._variant_run = VariantRun(cache, applier, settings, now)
        self._lock = ExclusiveLock(cache)
        self._failures = LastingFailures()

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one Comparison.

        Returns:
            Seconds until the next reconcile, where no event would cause it.
        """
        comparison = self._cache.get(key)
        if comparison is None or comparison["metadata"].get("deletionTimestamp"):
            self._lock.release(key)
            self._failures.clear(key)
            self._applier.forget(key)
            return None
        run = run_of(comparison)
        try:
            spec = ComparisonSpec.model_validate(comparison["spec"])
            variants = variants_of(comparison, spec)
        except ValidationError as error:
            return await self._give_up(comparison, "InvalidSpec", invalid_spec(error))
        except InvalidVariantError as error:
            return await self._give_up(comparison, "InvalidVariant", str(error))
        schedule = Schedule(comparison, spec, variants, run, recorded(comparison, run))
        try:
            observed, again = await self._advance(schedule)
        except ApiError as error:
            await self._write_blocked(error, key, schedule)
            raise
        self._failures.clear(key)
        return sooner(again, await self._write_status(comparison, observed))

    async def _write_blocked(self, error: ApiError, key: Key, schedule: Schedule) -> None:
        """Write into the status that the step is held up, once its failures last."""
        blocked = self._failures.add(key, error)
        if blocked is None:
            return
        step = schedule.next_step
        current = schedule.current(step) if step is not None else None
        if current is None:
            self._lock.release(key)  # nothing of this Comparison is on the hardware
        state = RunState.WAITING if current is None else RunState.RUNNING
        observed = self._observed(
            schedule,
            state,
            blocked.reason,
            blocked.message,
            step=None if current is None else step,
            current=current,
        )
        await self._write_status(schedule.comparison, observed)

    async def _write_status(self, comparison: Object, observed: Observed) -> float | None:
        return await self._applier.apply_status(
            comparison, comparison_status(comparison, observed, now=self._now())
        )

    async def _give_up(self, comparison: Object, reason: str, message: str) -> float | None:
        """Release the hardware of an earlier spec, and report the error of this one."""
        meta = comparison["metadata"]
        self._lock.release(key_of(comparison))
        obsolete = [
            key_of(child)
            for child in self._cache.compared(meta["namespace"], meta["name"])
            if child["kind"] == "DiffusionService" or not is_over(child)
        ]
        await self._applier.prune(comparison, obsolete)
        return await self._write_status(
            comparison, Observed(run_of(comparison), RunState.FAILED, reason, message)
        )

    async def _advance(self, schedule: Schedule) -> tuple[Observed, float | None]:
        step = schedule.next_step
        leaving = await self._clear(schedule, None if schedule.spec.suspend else step)
        if step is None or schedule.spec.suspend:
            self._lock.release(key_of(schedule.comparison))
        if step is None:
            return await self._finish(schedule)
        if schedule.spec.suspend:
            await self._applier.prune(schedule.comparison, [schedule.test(step)])
            message = (
                "spec.suspend is true: the current run was stopped, and finished runs are kept"
            )
            return self._observed(schedule, RunState.SUSPENDED, "Suspended", message), None
        if (first := self._lock.ask(schedule.comparison)) is not None:
            message = (
                f"one Comparison at a time uses the hardware of a namespace: {first} goes first"
            )
            return self._observed(schedule, RunState.WAITING, "HardwareInUse", message), None
        if leaving:
            message = f"waiting until {', '.join(leaving)} and its pods are gone"
            return self._observed(schedule, RunState.COOLING, "Cooling", message), LEAVING_SECONDS
        rest = self._rest(schedule)
        if rest > 0 and schedule.current(step) is None:
            message = f"cooling down before {step.variant}"
            return self._observed(schedule, RunState.COOLING, "Cooling", message), rest
        current, again = await self._variant_run(schedule, step)
        attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
        message = (
            f"repetition {step.repetition} of {step.variant}{attempt}: "
            f"{current.message or current.state}"
        )
        return self._observed(
            schedule, RunState.RUNNING, "Running", message, step=step, current=current
        ), again

    async def _clear(self, schedule: Schedule, step: Step | None) -> list[str]:
        """Delete children that don't belong to this step.

        Two repetitions of one variant in a row have different pods; otherwise pod-specific noise is
        counted twice.

        Returns:
            Names of the services that still hold the hardware.
        """
        begun = step is not None and schedule.current(step) is not None
        standing = {schedule.service(step.variant).name} if step is not None and begun else set()
        leaving = []
        for child in self._cache.compared(
            schedule.namespace, schedule.comparison["metadata"]["name"]
        ):
            if not is_owned(child, schedule.comparison):
                continue
            name = child["metadata"]["name"]
            stale = labels_of(child).get(RUN_LABEL) != schedule.run
            if stale or (child["kind"] == "DiffusionService" and not is_of(child, step)):
                await self._applier.prune(schedule.comparison, [key_of(child)])
                leaving.append(name)
            elif child["kind"] == "DiffusionService":
                standing.add(name)
        return sorted({*leaving, *(self._holding(schedule) - standing)})

    def _holding(self, schedule: Schedule) -> set[str]:
        """Names of this Comparison's services with pods, and of any Comparison's deleted services.

        The label of the pods identifies a deleted service.
        """
        comparisons = self._cache.all("Comparison")
        prefixes = tuple(
            service_name(each, "")
            for each in comparisons
            if each["metadata"]["namespace"] == schedule.namespace
        )
        holding = set()
        for name in self._cache.served(schedule.namespace, SERVICE_LABEL):
            service = self._cache.get(Key("DiffusionService", schedule.namespace, name))
            gone = service is None and name.startswith(prefixes)
            # A foreign service of such a name stays.
            if gone or (service is not None and is_owned(service, schedule.comparison)):
                holding.add(name)
        return holding

    def _rest(self, schedule: Schedule) -> float:
        """Remaining seconds of the cool-down."""
        times = [moment(run.completion_time) for run in schedule.runs if run.completion_time]
        if not times:
            return 0.0
        over = max(times) + timedelta(seconds=seconds(schedule.spec.cooldown))
        return (over - moment(self._now())).total_seconds()

    async def _finish(self, schedule: Schedule) -> tuple[Observed, float | None]:
        result = table_of(schedule, self._settings)
        trouble = await self._write_report(schedule, result)
        ref = None if trouble else ReportRef(name=report_name(schedule.comparison), key=REPORT_KEY)
        again = LOOK_AGAIN_SECONDS if trouble else None
        fit = [row for row in result.results if not row.reason]
        if not fit:
            message = "; ".join(f"{row.variant}: {row.message}" for row in result.results)
            message = f"{trouble}{message}"[:4000]
            return self._observed(
                schedule, RunState.FAILED, "NoFigures", message, table=result, ref=ref
            ), again
        message = f"{len(fit)} of {len(result.results)} variants have figures: {result.conclusion}"
        message = f"{trouble}{message}"[:4000]
        return self._observed(
            schedule, RunState.COMPLETE, "Finished", message, table=result, ref=ref
        ), again

    async def _write_report(self, schedule: Schedule, result: Table) -> str:
        """Write the report unless it exists.

        Returns:
            The reason why it is not written, or ``""``.
        """
        place = Key("ConfigMap", schedule.namespace, report_name(schedule.comparison))
        # Reports of LoadTests that are deleted after the end stay in this report.
        if schedule.is_recorded and self._cache.get(place) is not None:
            return ""
        loads = self._loads(schedule)
        document = comparison_report(schedule.comparison, schedule.kept, result, loads)
        try:
            await self._applier.apply(schedule.comparison, [document])
        except NameTakenError as error:
            return f"its report is not written: {error}; "
        except ApiError as error:
            if not is_refusal(error):
                raise
            return f"its report is not written: {message_of(error)}; "
        return ""

    def _loads(self, schedule: Schedule) -> dict[str, Report]:
        """Runner's report of each existing LoadTest."""
        tests = (
            self._cache.get(Key("LoadTest", schedule.namespace, run.load_test))
            for run in schedule.runs
        )
        return {
            test["metadata"]["name"]: report_of(self._cache, test)
            for test in tests
            if test is not None and ObservedLoadTest.of(test).state is not RunState.UNKNOWN
        }

    def _observed(
        self,
        schedule: Schedule,
        state: RunState,
        reason: str,
        message: str,
        *,
        step: Step | None = None,
        current: Run | None = None,
        table: Table | None = None,
        ref: ReportRef | None = None,
    ) -> Observed:
        current_runs = [current] if current else []
        after = replace(schedule, known=[*schedule.runs, *current_runs])
        in_progress = [run for run in current_runs if not run.completion_time]
        return Observed(
            run=schedule.run,
            state=state,
            reason=reason,
            message=message,
            total=len(schedule.order),
            ended=len(after.counted),
            design=design(
                len(schedule.variants),
                schedule.repetitions,
                schedule.looks if state.is_final else schedule.earlier_looks,
                schedule.note,
            ),
            variant=step.variant if step else "",
            runs=[*after.kept, *in_progress],
            table=table or (table_of(schedule, self._settings) if schedule.counted else None),
            report_ref=ref,
        )
