"""One repetition of one variant: its service, the load on it, and what they tell in the end."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from diffusion_operator.api.comparison import Run
from diffusion_operator.api.fields import seconds
from diffusion_operator.build.compared import variant_service, variant_test
from diffusion_operator.cache import Cache
from diffusion_operator.cluster import ApiError, said_by
from diffusion_operator.compare.meters import (
    Question,
    answered,
    explained,
    images_made,
    questions,
    without,
)
from diffusion_operator.compare.plan import Step
from diffusion_operator.compare.record import (
    Report,
    cold_start,
    ended,
    failed,
    moment,
    nodes_of,
    report_in,
    waiting,
)
from diffusion_operator.objects import (
    SERVICE_LABEL,
    Key,
    Object,
    condition_of,
    is_owned,
    key_of,
)
from diffusion_operator.prometheus import NoFigureError, figure
from diffusion_operator.reconcile.compared import Work
from diffusion_operator.reconcile.problems import is_refusal
from diffusion_operator.reconcile.writes import NameTakenError, Writes
from diffusion_operator.runs.basis import FINAL
from diffusion_operator.settings import Settings


class Repetition:
    """Takes a step of a Comparison one look further; what has been so far stands in its status."""

    def __init__(
        self, cache: Cache, writes: Writes, settings: Settings, now: Callable[[], str]
    ) -> None:
        self._cache = cache
        self._writes = writes
        self._settings = settings
        self._now = now

    async def __call__(self, work: Work, step: Step) -> tuple[Run, float | None]:
        """The step's run as it stands now, and in how many seconds to look again, if at all."""
        known = work.current(step)
        begun = known or Run(
            variant=step.variant,
            repetition=step.repetition,
            state="Starting",
            load_test=work.test(step).name,
            start_time=self._now(),
        )
        earlier = work.never_ready(step.variant)
        if known is None and earlier is not None:
            return failed(begun, earlier.reason, earlier.message, now=self._now()), None
        if known is not None and self._cache.get(work.service(step.variant)) is None:
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
            if not is_refusal(error):
                raise
            return failed(begun, "Refused", said_by(error), now=self._now()), None

    async def _test(
        self, work: Work, step: Step, run: Run, service: Object
    ) -> tuple[Run, float | None]:
        test = self._cache.get(work.test(step))
        if test is not None and not is_owned(test, work.comparison):
            test = None
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
            pods = self._cache.pods_of(work.namespace, service["metadata"]["name"], SERVICE_LABEL)
            run = run.model_copy(
                update={
                    "state": "Testing",
                    "message": "",
                    "reason": "",
                    "cold_start": cold_start(service, pods),
                    "nodes": nodes_of(pods),
                }
            )
        if not is_over(test):
            return await self._not_over(work, run, test)
        images = work.variants[step.variant].images
        report = report_of(self._cache, test)
        over = ended(run, test, report, images=images, now=self._now())
        if over.state == "Complete":
            over = await self._metered(work, over, report, images_made(report, images))
        return over, None

    async def _metered(self, work: Work, run: Run, report: Report, made: int) -> Run:
        """The run with what Prometheus has of it, and why it has no more."""
        service = work.service(run.variant).name
        for asked in questions(work.spec.prometheus, work.namespace, service, report):
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

    async def _not_over(self, work: Work, run: Run, test: Object) -> tuple[Run, float | None]:
        """A run whose load is on, or waits for something: for no longer than a service may."""
        why = _waits_for(test)
        if why is None:
            return run.model_copy(update={"message": ""}), None
        left = self._left(test, work.spec.ready_timeout)
        if left > 0:
            return waiting(run, why), left
        # It would begin beside another variant's, once its target is there again.
        await self._writes.delete(work.comparison, [key_of(test)])
        whole = f"its load did not begin within {work.spec.ready_timeout}: {why}"
        return failed(run, "NotBegun", whole, now=self._now()), None

    def _left(self, child: Object, within: str) -> float:
        """Seconds until the child is that old."""
        made = moment(child["metadata"]["creationTimestamp"])
        over = made + timedelta(seconds=seconds(within))
        return (over - moment(self._now())).total_seconds()

    def _awaiting(
        self, work: Work, run: Run, service: Object, ready: Mapping[str, Any] | None
    ) -> tuple[Run, float | None]:
        left = self._left(service, work.spec.ready_timeout)
        reason = ready["reason"] if ready else "Starting"
        said = f"{reason}: {ready['message']}" if ready else "its service is being started"
        if left > 0:
            return waiting(run, said), left
        whole = f"not Ready within {work.spec.ready_timeout}: {said}"
        return failed(run, "NotReady", whole, now=self._now()), None


def report_of(cache: Cache, test: Mapping[str, Any]) -> Report:
    """The runner's report of a LoadTest; empty where it has none."""
    ref = test["status"].get("reportRef")
    if ref is None:
        return {}
    place = Key("ConfigMap", test["metadata"]["namespace"], ref["name"])
    return report_in(cache.get(place), ref["key"])


def is_over(test: Mapping[str, Any]) -> bool:
    """Whether the LoadTest has ended, well or badly."""
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
