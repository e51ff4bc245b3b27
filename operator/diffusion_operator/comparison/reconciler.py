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
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.analysis.design import design
from diffusion_operator.comparison.analysis.results import Table
from diffusion_operator.comparison.children import is_of, service_name
from diffusion_operator.comparison.conclusion import Conclusion
from diffusion_operator.comparison.measurements import moment
from diffusion_operator.comparison.report import REPORT_KEY, report_name
from diffusion_operator.comparison.schedule import Step
from diffusion_operator.comparison.status import Observed, comparison_status
from diffusion_operator.comparison.step import Repetition, is_over
from diffusion_operator.comparison.work import (
    InvalidVariantError,
    Work,
    recorded,
    run_of,
    variants_of,
)
from diffusion_operator.kube.applier import LOOK_AGAIN_SECONDS, Applier, sooner
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import (
    RUN_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    is_owned,
    key_of,
    labels_of,
)
from diffusion_operator.kube.problems import invalid_spec
from diffusion_operator.loadtest.admission import ExclusiveLock
from diffusion_operator.settings import Settings

LEAVING_SECONDS = 1.0
"""Delay between two checks of terminating pods, whose events wake their own service only."""


class ComparisonReconciler:
    """Reconciler that runs one Comparison to its result."""

    def __init__(
        self, cache: Cache, applier: Applier, settings: Settings, now: Callable[[], str]
    ) -> None:
        self._cache = cache
        self._applier = applier
        self._now = now
        self._repetition = Repetition(cache, applier, settings, now)
        self._conclusion = Conclusion(cache, applier, settings)
        self._lock = ExclusiveLock(cache)

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one Comparison.

        Returns:
            Seconds until the next reconcile, where no event would cause it.
        """
        comparison = self._cache.get(key)
        if comparison is None or comparison["metadata"].get("deletionTimestamp"):
            self._lock.release(key)
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
        work = Work(comparison, spec, variants, run, recorded(comparison, run))
        observed, again = await self._advance(work)
        return sooner(again, await self._write_status(comparison, observed))

    async def _write_status(self, comparison: Object, observed: Observed) -> float | None:
        return await self._applier.apply_status(
            comparison, comparison_status(comparison, observed, now=self._now())
        )

    async def _give_up(self, comparison: Object, reason: str, message: str) -> float | None:
        """Release the hardware of an earlier spec, and report the error of this one."""
        meta = comparison["metadata"]
        self._lock.release(key_of(comparison))
        unwanted = [
            key_of(child)
            for child in self._cache.compared(meta["namespace"], meta["name"])
            if child["kind"] == "DiffusionService" or not is_over(child)
        ]
        await self._applier.prune(comparison, unwanted)
        return await self._write_status(
            comparison, Observed(run_of(comparison), RunState.FAILED, reason, message)
        )

    async def _advance(self, work: Work) -> tuple[Observed, float | None]:
        step = work.next_step
        leaving = await self._clear(work, None if work.spec.suspend else step)
        if step is None or work.spec.suspend:
            self._lock.release(key_of(work.comparison))
        if step is None:
            return await self._finish(work)
        if work.spec.suspend:
            await self._applier.prune(work.comparison, [work.test(step)])
            message = (
                "spec.suspend is true: the current run was stopped, and finished runs are kept"
            )
            return self._seen(work, RunState.SUSPENDED, "Suspended", message), None
        if (first := self._lock.ask(work.comparison)) is not None:
            message = (
                f"one Comparison at a time uses the hardware of a namespace: {first} goes first"
            )
            return self._seen(work, RunState.WAITING, "HardwareInUse", message), None
        if leaving:
            message = f"waiting until {', '.join(leaving)} and its pods are gone"
            return self._seen(work, RunState.COOLING, "Cooling", message), LEAVING_SECONDS
        rest = self._rest(work)
        if rest > 0 and work.current(step) is None:
            message = f"cooling down before {step.variant}"
            return self._seen(work, RunState.COOLING, "Cooling", message), rest
        current, again = await self._repetition(work, step)
        attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
        message = (
            f"repetition {step.repetition} of {step.variant}{attempt}: "
            f"{current.message or current.state}"
        )
        return self._seen(
            work, RunState.RUNNING, "Running", message, step=step, current=current
        ), again

    async def _clear(self, work: Work, step: Step | None) -> list[str]:
        """Delete children that don't belong to this step.

        Two repetitions of one variant in a row have different pods; otherwise pod-specific noise is
        counted twice.

        Returns:
            Names of the services that still hold the hardware.
        """
        begun = step is not None and work.current(step) is not None
        standing = {work.service(step.variant).name} if step is not None and begun else set()
        leaving = []
        for child in self._cache.compared(work.namespace, work.comparison["metadata"]["name"]):
            if not is_owned(child, work.comparison):
                continue
            name = child["metadata"]["name"]
            stale = labels_of(child).get(RUN_LABEL) != work.run
            if stale or (child["kind"] == "DiffusionService" and not is_of(child, step)):
                await self._applier.prune(work.comparison, [key_of(child)])
                leaving.append(name)
            elif child["kind"] == "DiffusionService":
                standing.add(name)
        return sorted({*leaving, *(self._holding(work) - standing)})

    def _holding(self, work: Work) -> set[str]:
        """Names of this Comparison's services with pods, and of any Comparison's deleted services.

        The label of the pods identifies a deleted service.
        """
        comparisons = self._cache.all("Comparison")
        prefixes = tuple(
            service_name(each, "")
            for each in comparisons
            if each["metadata"]["namespace"] == work.namespace
        )
        holding = set()
        for name in self._cache.served(work.namespace, SERVICE_LABEL):
            service = self._cache.get(Key("DiffusionService", work.namespace, name))
            gone = service is None and name.startswith(prefixes)
            # A foreign service of such a name stays.
            if gone or (service is not None and is_owned(service, work.comparison)):
                holding.add(name)
        return holding

    def _rest(self, work: Work) -> float:
        """Remaining seconds of the cool-down."""
        times = [moment(run.completion_time) for run in work.runs if run.completion_time]
        if not times:
            return 0.0
        over = max(times) + timedelta(seconds=seconds(work.spec.cooldown))
        return (over - moment(self._now())).total_seconds()

    async def _finish(self, work: Work) -> tuple[Observed, float | None]:
        result = self._conclusion.table(work)
        trouble = await self._conclusion.write_report(work, result)
        ref = None if trouble else ReportRef(name=report_name(work.comparison), key=REPORT_KEY)
        again = LOOK_AGAIN_SECONDS if trouble else None
        fit = [row for row in result.results if not row.reason]
        if not fit:
            message = "; ".join(f"{row.variant}: {row.message}" for row in result.results)
            message = f"{trouble}{message}"[:4000]
            return self._seen(
                work, RunState.FAILED, "NoFigures", message, table=result, ref=ref
            ), again
        message = f"{len(fit)} of {len(result.results)} variants have figures: {result.conclusion}"
        message = f"{trouble}{message}"[:4000]
        return self._seen(
            work, RunState.COMPLETE, "Finished", message, table=result, ref=ref
        ), again

    def _seen(
        self,
        work: Work,
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
        after = replace(work, known=[*work.runs, *current_runs])
        in_progress = [run for run in current_runs if not run.completion_time]
        return Observed(
            run=work.run,
            state=state,
            reason=reason,
            message=message,
            total=len(work.order),
            ended=len(after.counted),
            design=design(
                len(work.variants),
                work.repetitions,
                work.looks if state.is_final else work.earlier_looks,
            ),
            variant=step.variant if step else "",
            runs=[*after.kept, *in_progress],
            table=table or (self._conclusion.table(work) if work.counted else None),
            report_ref=ref,
        )
