"""Run of a variant, which is one attempt at a step: its service, its load, its figures."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from diffusion_operator.api.comparison import Run
from diffusion_operator.api.fields import seconds
from diffusion_operator.api.observed import ObservedCondition, ObservedLoadTest
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.analysis.measurements import (
    Report,
    cold_start,
    ended,
    failed,
    moment,
    nodes_of,
    report_in,
    waiting,
)
from diffusion_operator.comparison.analysis.prometheus_queries import (
    Question,
    answered,
    explained,
    images_made,
    questions,
    without,
)
from diffusion_operator.comparison.prometheus import NoFigureError, figure
from diffusion_operator.comparison.schedule import Schedule, Step, service_name, test_name
from diffusion_operator.kube.applier import Applier, NameTakenError
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, message_of
from diffusion_operator.kube.conditions import condition_of
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import (
    RANDOM_SEED_ANNOTATION,
    RUN_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    is_owned,
    key_of,
    labels_of,
)
from diffusion_operator.kube.problems import is_refusal
from diffusion_operator.settings import Settings

VARIANT_LABEL = "diffusion.dev/variant"
REPETITION_LABEL = "diffusion.dev/repetition"
ATTEMPT_LABEL = "diffusion.dev/attempt"


class VariantRun:
    """Run of a variant; each call advances the step's run, and the status holds its state."""

    def __init__(
        self, cache: Cache, applier: Applier, settings: Settings, now: Callable[[], str]
    ) -> None:
        self._cache = cache
        self._applier = applier
        self._settings = settings
        self._now = now

    async def __call__(self, schedule: Schedule, step: Step) -> tuple[Run, float | None]:
        """Advance the step.

        Returns:
            The step's run, and the seconds until the next call, if one is due.
        """
        known = schedule.current(step)
        begun = known or Run(
            variant=step.variant,
            repetition=step.repetition,
            attempt=step.attempt,
            state=RunState.STARTING,
            load_test=schedule.test(step).name,
            start_time=self._now(),
        )
        earlier = schedule.hopeless(step.variant)
        if known is None and earlier is not None:
            return failed(begun, earlier.reason, earlier.message, now=self._now()), None
        if known is not None and self._cache.get(schedule.service(step.variant)) is None:
            message = "its DiffusionService was deleted before the run ended"
            return failed(begun, "ServiceDeleted", message, now=self._now()), None
        variant = schedule.variants[step.variant]
        desired = variant_service(schedule.comparison, step, variant.service, schedule.run)
        try:
            (service,) = await self._applier.apply(schedule.comparison, [desired])
            return await self._test(schedule, step, begun, service)
        except NameTakenError as error:
            return failed(begun, "NameTaken", str(error), now=self._now()), None
        except ApiError as error:
            if not is_refusal(error):
                raise
            return failed(begun, "Refused", message_of(error), now=self._now()), None

    async def _test(
        self, schedule: Schedule, step: Step, run: Run, service: Object
    ) -> tuple[Run, float | None]:
        test = self._cache.get(schedule.test(step))
        if test is not None and not is_owned(test, schedule.comparison):
            test = None
        if run.state is RunState.TESTING and test is None:
            message = "its LoadTest was deleted before the run ended"
            return failed(run, "LoadTestDeleted", message, now=self._now()), None
        if test is None:
            ready = condition_of(service, "Ready")
            generation = service["metadata"]["generation"]
            if ready is None or ready.observed_generation != generation:
                return self._awaiting(schedule, run, service, None)
            if not ready.is_true:
                return self._awaiting(schedule, run, service, ready)
            desired = variant_test(
                schedule.comparison, step, schedule.variants[step.variant].load, schedule.run
            )
            test = await self._applier.create_once(schedule.comparison, desired)
        if run.state is RunState.STARTING:
            pods = self._cache.pods_of(
                schedule.namespace, service["metadata"]["name"], SERVICE_LABEL
            )
            run = run.model_copy(
                update={
                    "state": RunState.TESTING,
                    "message": "",
                    "reason": "",
                    "cold_start": cold_start(service, pods),
                    "nodes": nodes_of(pods),
                }
            )
        if not is_over(test):
            return await self._not_over(schedule, run, test)
        images = schedule.variants[step.variant].images
        report = report_of(self._cache, test)
        over = ended(run, test, report, images=images, now=self._now())
        if over.state is RunState.COMPLETE:
            over = await self._metered(schedule, over, report, images_made(report, images))
        return over, None

    async def _metered(self, schedule: Schedule, run: Run, report: Report, made: int) -> Run:
        """Copy of the run with Prometheus' figures, or the reasons why they are absent."""
        service = schedule.service(run.variant).name
        for question in questions(schedule.spec.prometheus, schedule.namespace, service, report):
            try:
                value = await self._value(question)
                run = answered(run, question.field, value, made)
            except NoFigureError as error:
                run = without(run, question.field, f"Prometheus {error}")
        return explained(run, gpu="gpu" in schedule.variants[run.variant].service)

    async def _value(self, question: Question) -> float:
        if not self._settings.prometheus_url:
            raise NoFigureError("is unknown to the operator: set prometheusUrl of its chart")
        return await figure(self._settings.prometheus_url, question.query, question.at)

    async def _not_over(
        self, schedule: Schedule, run: Run, test: Object
    ) -> tuple[Run, float | None]:
        """Check a run whose LoadTest has not ended; its wait is limited like a service's start."""
        why = _waits_for(test)
        if why is None:
            return run.model_copy(update={"message": ""}), None
        left = self._left(test, schedule.spec.ready_timeout)
        if left > 0:
            return waiting(run, why), left
        # Otherwise the LoadTest could begin beside another variant's.
        await self._applier.prune(schedule.comparison, [key_of(test)])
        whole = f"its load did not begin within {schedule.spec.ready_timeout}: {why}"
        return failed(run, "NotBegun", whole, now=self._now()), None

    def _left(self, child: Object, within: str) -> float:
        """Seconds until the child reaches that age."""
        made = moment(child["metadata"]["creationTimestamp"])
        over = made + timedelta(seconds=seconds(within))
        return (over - moment(self._now())).total_seconds()

    def _awaiting(
        self, schedule: Schedule, run: Run, service: Object, ready: ObservedCondition | None
    ) -> tuple[Run, float | None]:
        left = self._left(service, schedule.spec.ready_timeout)
        message = f"{ready.reason}: {ready.message}" if ready else "its service is being started"
        if left > 0:
            return waiting(run, message), left
        whole = f"not Ready within {schedule.spec.ready_timeout}: {message}"
        return failed(run, "NotReady", whole, now=self._now()), None


def report_of(cache: Cache, test: Mapping[str, Any]) -> Report:
    """Runner's report of a LoadTest; empty where it has none."""
    ref = ObservedLoadTest.of(test).report_ref
    if ref is None:
        return {}
    place = Key("ConfigMap", test["metadata"]["namespace"], ref.name)
    return report_in(cache.get(place), ref.key)


def is_over(test: Mapping[str, Any]) -> bool:
    """Whether the LoadTest has ended, well or badly."""
    return ObservedLoadTest.of(test).state.is_final


def _waits_for(test: Mapping[str, Any]) -> str | None:
    """Reason why the load has not begun, by the LoadTest's status; None once it has."""
    if not test.get("status"):
        return "NotSeen: its LoadTest has no status yet"
    status = ObservedLoadTest.of(test)
    if not status.state.is_before_load:
        return None
    complete = status.condition("Complete")
    return f"{complete.reason}: {complete.message}" if complete else status.state.value


def variant_service(
    comparison: Mapping[str, Any], step: Step, spec: Mapping[str, Any], run: str
) -> Object:
    """DiffusionService of the variant that uses the hardware now."""
    return child(
        comparison,
        "DiffusionService",
        service_name(comparison, step.variant),
        more_labels=_labels(step, run),
        spec=dict(spec),
    )


def _labels(step: Step, run: str) -> dict[str, str]:
    labels = {
        RUN_LABEL: run,
        VARIANT_LABEL: step.variant,
        REPETITION_LABEL: str(step.repetition),
    }
    # An upgrade changes no child that a first attempt has already made.
    return labels if step.attempt == 1 else {**labels, ATTEMPT_LABEL: str(step.attempt)}


def is_of(service: Object, step: Step | None) -> bool:
    """Whether a variant's service was made for that step."""
    if step is None:
        return False
    labels = labels_of(service)
    made_for = (labels.get(VARIANT_LABEL), labels.get(REPETITION_LABEL))
    attempt = labels.get(ATTEMPT_LABEL, "1")
    return (*made_for, attempt) == (step.variant, str(step.repetition), str(step.attempt))


def variant_test(
    comparison: Mapping[str, Any], step: Step, load: Mapping[str, Any], run: str
) -> Object:
    """LoadTest of one repetition; it stays, since its report is part of the result.

    All variants of a round have the same seed, so that each gets the same requests at the same
    times, and a further attempt repeats those of its round.
    """
    return child(
        comparison,
        "LoadTest",
        test_name(comparison, step),
        more_labels=_labels(step, run),
        annotations={RANDOM_SEED_ANNOTATION: f"{run}/{step.repetition}"},
        spec={
            **load,
            "targetRef": {"name": service_name(comparison, step.variant)},
            "rerun": "Never",
        },
    )
