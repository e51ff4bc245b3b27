"""Comparison → one variant at a time on the hardware, and what its runs tell.

Which step is next follows from the runs that the status has already: a step's figures are written
there before its service goes away, so an operator that was killed goes on where it was.
"""

from collections.abc import Callable
from datetime import timedelta

from pydantic import ValidationError

from diffusion_operator.api.comparison import ComparisonSpec, Run
from diffusion_operator.api.fields import seconds
from diffusion_operator.api.loadtest import ReportRef
from diffusion_operator.build.compared import is_of, service_name
from diffusion_operator.build.comparison_report import REPORT_KEY, report_name
from diffusion_operator.cache import Cache
from diffusion_operator.compare.plan import Step
from diffusion_operator.compare.record import moment
from diffusion_operator.compare.results import Table
from diffusion_operator.objects import (
    RUN_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    is_owned,
    key_of,
    labels_of,
)
from diffusion_operator.reconcile.compared import (
    InvalidVariantError,
    Work,
    recorded,
    run_of,
    variants_of,
)
from diffusion_operator.reconcile.conclusion import Conclusion
from diffusion_operator.reconcile.hardware import Hardware
from diffusion_operator.reconcile.problems import invalid_spec
from diffusion_operator.reconcile.repetition import Repetition, is_over
from diffusion_operator.reconcile.writes import LOOK_AGAIN_SECONDS, Writes, sooner
from diffusion_operator.settings import Settings
from diffusion_operator.status.comparison import Seen, comparison_status

LEAVING_SECONDS = 1.0
"""Between two looks at pods that are ending; their events wake only the service that owns them."""


class ComparisonReconciler:
    """Makes one Comparison come true."""

    def __init__(
        self, cache: Cache, writes: Writes, settings: Settings, now: Callable[[], str]
    ) -> None:
        self._cache = cache
        self._writes = writes
        self._now = now
        self._repetition = Repetition(cache, writes, settings, now)
        self._conclusion = Conclusion(cache, writes, settings)
        self._hardware = Hardware(cache)

    async def __call__(self, key: Key) -> float | None:
        """Reconcile; returns in how many seconds to look again, if no event would say so."""
        comparison = self._cache.get(key)
        if comparison is None or comparison["metadata"].get("deletionTimestamp"):
            self._hardware.leave(key)
            self._writes.forget(key)
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
        seen, again = await self._advance(work)
        return sooner(again, await self._say(comparison, seen))

    async def _say(self, comparison: Object, seen: Seen) -> float | None:
        return await self._writes.status(
            comparison, comparison_status(comparison, seen, now=self._now())
        )

    async def _give_up(self, comparison: Object, reason: str, message: str) -> float | None:
        """Free the hardware of what an earlier spec asked for, and say what is wrong with this."""
        meta = comparison["metadata"]
        self._hardware.leave(key_of(comparison))
        unwanted = [
            key_of(child)
            for child in self._cache.compared(meta["namespace"], meta["name"])
            if child["kind"] == "DiffusionService" or not is_over(child)
        ]
        await self._writes.delete(comparison, unwanted)
        return await self._say(comparison, Seen(run_of(comparison), "Failed", reason, message))

    async def _advance(self, work: Work) -> tuple[Seen, float | None]:
        step = work.next_step
        leaving = await self._clear(work, None if work.spec.suspend else step)
        if step is None or work.spec.suspend:
            self._hardware.leave(key_of(work.comparison))
        if step is None:
            return await self._finish(work)
        if work.spec.suspend:
            await self._writes.delete(work.comparison, [work.test(step)])
            said = "spec.suspend is true: what ran was ended, and the finished runs are kept"
            return self._seen(work, "Suspended", "Suspended", said), None
        if (first := self._hardware.ask(work.comparison)) is not None:
            said = f"one comparison at a time has the hardware of a namespace: {first} goes first"
            return self._seen(work, "Waiting", "HardwareInUse", said), None
        if leaving:
            said = f"waiting until {', '.join(leaving)} and its pods are gone"
            return self._seen(work, "Cooling", "Cooling", said), LEAVING_SECONDS
        rest = self._rest(work)
        if rest > 0 and work.current(step) is None:
            said = f"cooling down before {step.variant}"
            return self._seen(work, "Cooling", "Cooling", said), rest
        current, again = await self._repetition(work, step)
        said = f"repetition {step.repetition} of {step.variant}: {current.message or current.state}"
        return self._seen(work, "Running", "Running", said, step=step, current=current), again

    async def _clear(self, work: Work, step: Step | None) -> list[str]:
        """Delete what isn't of this step; returns the services that still hold the hardware.

        Two repetitions of one variant in a row have pods of their own, too: what is by chance about
        a pod would count twice else.
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
                await self._writes.delete(work.comparison, [key_of(child)])
                leaving.append(name)
            elif child["kind"] == "DiffusionService":
                standing.add(name)
        return sorted({*leaving, *(self._holding(work) - standing)})

    def _holding(self, work: Work) -> set[str]:
        """The services of this Comparison that have pods, and any Comparison's that are gone.

        A service that is gone is known by what its pods' label begins with.
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
            # Somebody else's of such a name won't go away for us.
            if gone or (service is not None and is_owned(service, work.comparison)):
                holding.add(name)
        return holding

    def _rest(self, work: Work) -> float:
        """Seconds of the cool-down that are left."""
        times = [moment(run.completion_time) for run in work.runs if run.completion_time]
        if not times:
            return 0.0
        over = max(times) + timedelta(seconds=seconds(work.spec.cooldown))
        return (over - moment(self._now())).total_seconds()

    async def _finish(self, work: Work) -> tuple[Seen, float | None]:
        found = self._conclusion.table(work)
        trouble = await self._conclusion.write_report(work, found)
        ref = None if trouble else ReportRef(name=report_name(work.comparison), key=REPORT_KEY)
        again = LOOK_AGAIN_SECONDS if trouble else None
        fit = [row for row in found.results if not row.reason]
        if not fit:
            said = "; ".join(f"{row.variant}: {row.message}" for row in found.results)
            said = f"{trouble}{said}"[:4000]
            return self._seen(work, "Failed", "NoFigures", said, table=found, ref=ref), again
        said = f"{len(fit)} of {len(found.results)} variants have figures: {found.conclusion}"
        said = f"{trouble}{said}"[:4000]
        return self._seen(work, "Complete", "Finished", said, table=found, ref=ref), again

    def _seen(
        self,
        work: Work,
        state: str,
        reason: str,
        message: str,
        *,
        step: Step | None = None,
        current: Run | None = None,
        table: Table | None = None,
        ref: ReportRef | None = None,
    ) -> Seen:
        runs = [*work.runs, *([current] if current else [])]
        return Seen(
            run=work.run,
            state=state,
            reason=reason,
            message=message,
            total=len(work.order),
            variant=step.variant if step else "",
            runs=runs,
            table=table or (self._conclusion.table(work) if work.runs else None),
            report_ref=ref,
        )
