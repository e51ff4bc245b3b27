"""Comparison → one variant at a time on the hardware, and what its runs tell.

Which step is next follows from the runs that the status has already: a step's figures are written
there before its service goes away, so an operator that was killed goes on where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import ValidationError

from diffusion_operator.api.comparison import (
    MAX_TEXT,
    ComparisonSpec,
    LoadTemplate,
    Run,
    default_variants,
)
from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import Model, seconds
from diffusion_operator.api.loadtest import ReportRef, broken_rule
from diffusion_operator.build.compared import (
    is_of,
    service_name,
    test_name,
    variant_service,
    variant_test,
)
from diffusion_operator.build.comparison_report import REPORT_KEY, comparison_report, report_name
from diffusion_operator.build.metadata import digest
from diffusion_operator.cache import Cache
from diffusion_operator.cluster import ApiError, Cluster, said_by
from diffusion_operator.compare.differences import meant
from diffusion_operator.compare.meters import (
    Question,
    answered,
    explained,
    images_made,
    questions,
    without,
)
from diffusion_operator.compare.plan import Step, merged, steps
from diffusion_operator.compare.record import (
    Report,
    cold_start,
    ended,
    failed,
    moment,
    nodes_of,
    report_in,
)
from diffusion_operator.compare.results import Compared, Table, criterion, table
from diffusion_operator.objects import (
    RUN_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    condition_of,
    is_owned,
    key_of,
    labels_of,
)
from diffusion_operator.prometheus import NoFigureError, figure
from diffusion_operator.reconcile.problems import invalid_spec, mistakes
from diffusion_operator.reconcile.writes import LOOK_AGAIN_SECONDS, NameTakenError, Writes, sooner
from diffusion_operator.runs.basis import FINAL
from diffusion_operator.settings import Settings
from diffusion_operator.status.comparison import Seen, comparison_status

LEAVING_SECONDS = 1.0
"""Between two looks at pods that are ending; their events wake only the service that owns them."""


M = TypeVar("M", bound=Model)


class InvalidVariantError(Exception):
    """A variant's fields make no valid service or load; the message says which and why."""


@dataclass(frozen=True)
class Variant:
    """A variant as it is to be made: the specs of its service and of its load."""

    service: Mapping[str, Any]
    load: Mapping[str, Any]
    patch: Mapping[str, Any]

    @property
    def images(self) -> int:
        """How many a request asks for."""
        return int((self.load.get("request") or {}).get("images") or 1)


def run_of(comparison: Mapping[str, Any]) -> str:
    """Identifies what is compared; more repetitions of it, or a pause, leave it the same."""
    spec = comparison["spec"]
    parts = [spec.get(part) for part in ("service", "variants", "loadTest")]
    return digest([comparison["metadata"]["uid"], *parts])[:6]


def variants_of(comparison: Mapping[str, Any], spec: ComparisonSpec) -> dict[str, Variant]:
    """Each variant's service and load, in the order of the spec.

    Raises ``InvalidVariantError``.
    """
    raw = comparison["spec"]
    found = {}
    for each in spec.variants or default_variants():
        variant = Variant(
            merged(raw["service"], each.service),
            merged(raw["loadTest"], each.load_test),
            each.service,
        )
        _valid(DiffusionServiceSpec, variant.service, f"variant {each.name}: service")
        load = _valid(LoadTemplate, variant.load, f"variant {each.name}: loadTest")
        if (broken := broken_rule(load)) is not None:
            raise InvalidVariantError(f"variant {each.name}: loadTest: {broken}")
        found[each.name] = variant
    return found


def _valid(model: type[M], fields: Mapping[str, Any], within: str) -> M:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidVariantError(mistakes(error, within)) from error


class ComparisonReconciler:
    """Makes one Comparison come true."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        writes: Writes,
        settings: Settings,
        now: Callable[[], str],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._writes = writes
        self._settings = settings
        self._now = now

    async def __call__(self, key: Key) -> float | None:
        """Reconcile; returns in how many seconds to look again, if no event would say so."""
        comparison = self._cache.get(key)
        if comparison is None or comparison["metadata"].get("deletionTimestamp"):
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
        for child in self._cache.compared(meta["namespace"], meta["name"]):
            if child["kind"] == "DiffusionService" or not _is_over(child):
                await self._end(comparison, child)
        return await self._say(comparison, Seen(run_of(comparison), "Failed", reason, message))

    async def _end(self, comparison: Object, child: Object) -> None:
        if is_owned(child, comparison) and "deletionTimestamp" not in child["metadata"]:
            await self._cluster.delete(key_of(child))

    def _own(self, work: "Work", key: Key) -> Object | None:
        """The child, if there is one and it is this Comparison's."""
        found = self._cache.get(key)
        return found if found is not None and is_owned(found, work.comparison) else None

    async def _advance(self, work: "Work") -> tuple[Seen, float | None]:
        step = work.next_step
        leaving = await self._clear(work, None if work.spec.suspend else step)
        if step is None:
            return await self._finish(work)
        if work.spec.suspend:
            await self._stop_test(work, step)
            said = "spec.suspend is true: what ran was ended, and the finished runs are kept"
            return self._seen(work, "Suspended", "Suspended", said), None
        if leaving:
            said = f"waiting until {', '.join(leaving)} and its pods are gone"
            return self._seen(work, "Cooling", "Cooling", said), LEAVING_SECONDS
        rest = self._rest(work)
        if rest > 0 and work.current(step) is None:
            said = f"cooling down before {step.variant}"
            return self._seen(work, "Cooling", "Cooling", said), rest
        current, again = await self._step(work, step)
        said = f"repetition {step.repetition} of {step.variant}: {current.message or current.state}"
        return self._seen(work, "Running", "Running", said, step=step, current=current), again

    async def _clear(self, work: "Work", step: Step | None) -> list[str]:
        """Delete what isn't of this step; returns the services that still hold the hardware.

        Two repetitions of one variant in a row have pods of their own, too: what is by chance about
        a pod would count twice else.
        """
        namespace = work.comparison["metadata"]["namespace"]
        begun = step if step is not None and work.current(step) is not None else None
        standing = {service_name(work.comparison, begun.variant)} if begun else set()
        leaving = []
        for child in self._cache.compared(namespace, work.comparison["metadata"]["name"]):
            if not is_owned(child, work.comparison):
                continue
            name = child["metadata"]["name"]
            stale = labels_of(child).get(RUN_LABEL) != work.run
            if stale or (child["kind"] == "DiffusionService" and not is_of(child, step)):
                await self._end(work.comparison, child)
                leaving.append(name)
            elif child["kind"] == "DiffusionService":
                standing.add(name)
        services = {service_name(work.comparison, name) for name in work.variants} - standing
        held = {name for name in services if self._has_pods(work, name)}
        return sorted({*leaving, *held})

    def _has_pods(self, work: "Work", service: str) -> bool:
        """Whether pods of a service of this Comparison are there, which may be gone itself."""
        namespace = work.comparison["metadata"]["namespace"]
        key = Key("DiffusionService", namespace, service)
        if self._cache.get(key) is not None and self._own(work, key) is None:
            return False  # somebody else's service of that name: it won't go away for us
        return bool(self._cache.pods_of(namespace, service, SERVICE_LABEL))

    async def _stop_test(self, work: "Work", step: Step) -> None:
        namespace = work.comparison["metadata"]["namespace"]
        key = Key("LoadTest", namespace, test_name(work.comparison, step))
        if (test := self._cache.get(key)) is not None:
            await self._end(work.comparison, test)

    def _rest(self, work: "Work") -> float:
        """Seconds of the cool-down that are left."""
        times = [moment(run.completion_time) for run in work.runs if run.completion_time]
        if not times:
            return 0.0
        over = max(times) + timedelta(seconds=seconds(work.spec.cooldown))
        return (over - moment(self._now())).total_seconds()

    async def _step(self, work: "Work", step: Step) -> tuple[Run, float | None]:
        """The step's run as it stands now."""
        known = work.current(step)
        namespace = work.comparison["metadata"]["namespace"]
        begun = known or Run(
            variant=step.variant,
            repetition=step.repetition,
            state="Starting",
            load_test=test_name(work.comparison, step),
            start_time=self._now(),
        )
        earlier = work.never_ready(step.variant)
        if known is None and earlier is not None:
            return failed(begun, earlier.reason, earlier.message, now=self._now()), None
        service_key = Key(
            "DiffusionService", namespace, service_name(work.comparison, step.variant)
        )
        if known is not None and self._cache.get(service_key) is None:
            said = "its DiffusionService was deleted before the run ended"
            return failed(begun, "ServiceDeleted", said, now=self._now()), None
        variant = work.variants[step.variant]
        wanted = variant_service(work.comparison, step, variant.service, work.run)
        try:
            (service,) = await self._writes.children(work.comparison, [wanted])
            return await self._test(work, step, begun, service)
        except NameTakenError as error:
            return failed(begun, "NameTaken", str(error), now=self._now()), None
        except ApiError as error:
            if not _is_refusal(error):
                raise
            return failed(begun, "Refused", said_by(error), now=self._now()), None

    async def _test(
        self, work: "Work", step: Step, run: Run, service: Object
    ) -> tuple[Run, float | None]:
        key = Key("LoadTest", service["metadata"]["namespace"], test_name(work.comparison, step))
        test = self._own(work, key)
        if run.state == "Testing" and test is None:
            said = "its LoadTest was deleted before the run ended"
            return failed(run, "LoadTestDeleted", said, now=self._now()), None
        if test is None:
            ready = condition_of(service, "Ready")
            current = ready is not None and (
                ready.get("observedGeneration") == service["metadata"]["generation"]
            )
            if ready is None or not current or ready["status"] != "True":
                return self._awaiting(work, run, service, ready if current else None)
            wanted = variant_test(work.comparison, step, work.variants[step.variant].load, work.run)
            test = await self._writes.child_once(work.comparison, wanted)
        if run.state == "Starting":
            pods = self._cache.pods_of(key.namespace, service["metadata"]["name"], SERVICE_LABEL)
            run = run.model_copy(
                update={
                    "state": "Testing",
                    "message": "",
                    "reason": "",
                    "cold_start": cold_start(service, pods),
                    "nodes": nodes_of(pods),
                }
            )
        if not _is_over(test):
            return await self._not_over(work, run, test)
        images = work.variants[step.variant].images
        report = self._report(test)
        over = ended(run, test, report, images=images, now=self._now())
        if over.state == "Complete":
            over = await self._metered(work, over, report, images_made(report, images))
        return over, None

    async def _metered(self, work: "Work", run: Run, report: Report, made: int) -> Run:
        """The run with what Prometheus has of it, and why it has no more."""
        namespace = work.comparison["metadata"]["namespace"]
        service = service_name(work.comparison, run.variant)
        for asked in questions(work.spec.prometheus, namespace, service, report):
            try:
                value = await self._asked(asked)
                run = answered(run, asked.field, value, made)
            except NoFigureError as error:
                run = without(run, asked.field, f"Prometheus {error}")
        return explained(run, gpu="gpu" in work.variants[run.variant].service)

    async def _asked(self, asked: Question) -> float:
        if not self._settings.prometheus_url:
            raise NoFigureError("is unknown to the operator: set prometheusUrl of its chart")
        return await figure(self._settings.prometheus_url, asked.query, asked.at)

    async def _not_over(self, work: "Work", run: Run, test: Object) -> tuple[Run, float | None]:
        """A run whose load is on, or waits for something: for no longer than a service may."""
        waiting = _waits_for(test)
        if waiting is None:
            return run.model_copy(update={"message": ""}), None
        left = self._left(test, work.spec.ready_timeout)
        if left > 0:
            return run.model_copy(update={"message": waiting[:MAX_TEXT]}), left
        # It would begin beside another variant's, once its target is there again.
        await self._end(work.comparison, test)
        whole = f"its load did not begin within {work.spec.ready_timeout}: {waiting}"
        return failed(run, "NotBegun", whole, now=self._now()), None

    def _left(self, child: Object, within: str) -> float:
        """Seconds until the child is that old."""
        made = moment(child["metadata"]["creationTimestamp"])
        over = made + timedelta(seconds=seconds(within))
        return (over - moment(self._now())).total_seconds()

    def _awaiting(
        self, work: "Work", run: Run, service: Object, ready: Mapping[str, Any] | None
    ) -> tuple[Run, float | None]:
        left = self._left(service, work.spec.ready_timeout)
        reason = ready["reason"] if ready else "Starting"
        said = f"{reason}: {ready['message']}" if ready else "its service is being started"
        if left > 0:
            return run.model_copy(update={"message": said}), left
        whole = f"not Ready within {work.spec.ready_timeout}: {said}"
        return failed(run, "NotReady", whole, now=self._now()), None

    def _report(self, test: Object) -> Report:
        ref = test["status"].get("reportRef")
        if ref is None:
            return {}
        place = Key("ConfigMap", test["metadata"]["namespace"], ref["name"])
        return report_in(self._cache.get(place), ref["key"])

    async def _finish(self, work: "Work") -> tuple[Seen, float | None]:
        found = self._table(work, work.runs)
        trouble = await self._write_report(work, found)
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

    async def _write_report(self, work: "Work", found: Table) -> str:
        """Write the report where it isn't; returns what kept it from being written, if so."""
        place = Key(
            "ConfigMap", work.comparison["metadata"]["namespace"], report_name(work.comparison)
        )
        # Load tests that are deleted after the end stay in the report.
        if work.is_told and self._cache.get(place) is not None:
            return ""
        loads = self._loads(work)
        document = comparison_report(work.comparison, work.runs, found, loads)
        try:
            await self._writes.children(work.comparison, [document])
        except NameTakenError as error:
            return f"its report is not written: {error}; "
        except ApiError as error:
            if not _is_refusal(error):
                raise
            return f"its report is not written: {said_by(error)}; "
        return ""

    def _loads(self, work: "Work") -> dict[str, Report]:
        """The runner's report of each LoadTest that still has one."""
        namespace = work.comparison["metadata"]["namespace"]
        tests = (self._cache.get(Key("LoadTest", namespace, run.load_test)) for run in work.runs)
        return {
            test["metadata"]["name"]: self._report(test)
            for test in tests
            if test is not None and (test.get("status") or {}).get("state")
        }

    def _table(self, work: "Work", runs: Sequence[Run]) -> Table:
        names = list(work.variants)
        loads = {name: variant.load for name, variant in work.variants.items()}
        compared = Compared(
            criterion=criterion(loads[names[0]]),
            loads=loads,
            dollars_per_hour={name: self._price(work.variants[name]) for name in names},
            images={name: work.variants[name].images for name in names},
            may_differ=meant(variant.patch for variant in work.variants.values()),
        )
        return table(names, runs, compared)

    def _price(self, variant: Variant) -> float | None:
        """What the variant's accelerators cost an hour, in dollars, by the catalogue."""
        gpu = variant.service.get("gpu")
        if gpu is None:
            return None
        accelerator = self._settings.accelerators.get(gpu["type"])
        if accelerator is None or accelerator.price_per_hour is None:
            return None
        pods = int(variant.service.get("replicas") or 1)
        return float(accelerator.price_per_hour) * int(gpu.get("count") or 1) * pods

    def _seen(
        self,
        work: "Work",
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
            table=table or (self._table(work, work.runs) if work.runs else None),
            report_ref=ref,
        )


def _is_refusal(error: ApiError) -> bool:
    """Whether the API server will answer the same to a second try."""
    return error.status in range(400, 500) and error.status not in {409, 429}


def _is_over(test: Mapping[str, Any]) -> bool:
    return (test.get("status") or {}).get("state") in FINAL


def _waits_for(test: Mapping[str, Any]) -> str | None:
    """Why the load isn't on yet, in the LoadTest's own words; None once it is."""
    status = test.get("status") or {}
    if not status:
        return "NotSeen: its LoadTest has no status yet"
    if status["state"] not in {"Waiting", "Queued", "Suspended", "Starting"}:
        return None
    said = condition_of(test, "Complete")
    return f"{said['reason']}: {said['message']}" if said else str(status["state"])


@dataclass(frozen=True)
class Work:
    """A Comparison, and the runs of it that the status has."""

    comparison: Object
    spec: ComparisonSpec
    variants: Mapping[str, Variant]
    run: str
    known: Sequence[Run]

    @property
    def order(self) -> list[Step]:
        """Every step there is."""
        return steps(list(self.variants), self.spec.repetitions)

    @property
    def runs(self) -> list[Run]:
        """The runs that have ended, as far as they are still asked for."""
        wanted = set(self.order)
        return [
            run
            for run in self.known
            if run.completion_time and Step(run.variant, run.repetition) in wanted
        ]

    @property
    def is_told(self) -> bool:
        """Whether the status tells the end of these runs, and of no others."""
        status = self.comparison.get("status") or {}
        same = status.get("run") == self.run and len(self.known) == len(self.runs)
        return same and "reportRef" in status

    @property
    def next_step(self) -> Step | None:
        """The first step without an ended run."""
        done = {Step(run.variant, run.repetition) for run in self.runs}
        return next((step for step in self.order if step not in done), None)

    def current(self, step: Step) -> Run | None:
        """The run of that step, if it was begun and hasn't ended."""
        return next(
            (
                run
                for run in self.known
                if Step(run.variant, run.repetition) == step and not run.completion_time
            ),
            None,
        )

    def never_ready(self, variant: str) -> Run | None:
        """An earlier repetition of it that didn't become Ready: another one won't either."""
        return next(
            (run for run in self.runs if run.variant == variant and run.reason == "NotReady"), None
        )


def recorded(comparison: Mapping[str, Any], run: str) -> list[Run]:
    """The runs that the status has of what is compared now."""
    status = comparison.get("status") or {}
    if status.get("run") != run:
        return []
    return [Run.model_validate(each) for each in status.get("runs") or ()]
