"""Schedule of a Comparison: its variants and steps in their order, and the runs so far. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from diffusion_operator.api.comparison import (
    DEFAULT_REPETITIONS,
    MOST_ATTEMPTS,
    MOST_REPETITIONS,
    ComparisonSpec,
    Run,
)
from diffusion_operator.api.comparison_parts import LoadTemplate, default_variants
from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import Model
from diffusion_operator.api.load import broken_rule
from diffusion_operator.api.observed import ObservedComparison
from diffusion_operator.kube.merge_patch import merged, null_at, with_nulls
from diffusion_operator.kube.metadata import digest
from diffusion_operator.kube.objects import Key, Object, run_at_of
from diffusion_operator.kube.problems import validation_message
from diffusion_operator.kube.removal import steps_of, without

M = TypeVar("M", bound=Model)

_EARLIER_DEFAULT = 3
"""Default rounds of the releases whose status has no design: an upgrade adds none to a study."""


class Step(NamedTuple):
    """Step: one repetition of one variant; repetitions and attempts count from 1.

    A further attempt repeats a run whose figures are not valid, in its own round.
    """

    variant: str
    repetition: int
    attempt: int = 1


def steps(variants: Sequence[str], repetitions: int) -> list[Step]:
    """First attempts in rounds: each round runs every variant once, in a balanced order."""
    rounds = islice(cycle(orders(len(variants))), repetitions)
    return [
        Step(variants[place], repetition)
        for repetition, order in enumerate(rounds, 1)
        for place in order
    ]


def orders(count: int) -> list[list[int]]:
    """Orders of the places 0 to `count` - 1, one a round, balanced against drift and carry-over.

    E. J. Williams, "Experimental designs balanced for the estimation of residual effects of
    treatments" (1949): over all orders each variant has each position equally often, and follows
    each other variant equally often. Every second order reverses the one before it, so a linear
    drift cancels out after each even number of rounds.
    """
    first = list(_zigzag(count))
    shifts = range(count if count % 2 else count // 2)
    pairs = ([(place + shift) % count for place in first] for shift in shifts)
    return [order for forward in pairs for order in (forward, forward[::-1])]


def _zigzag(count: int) -> Iterator[int]:
    """Williams' first order: 0, 1, n - 1, 2, n - 2, ..."""
    low, high = 1, count - 1
    yield 0
    while low <= high:
        yield low
        if low != high:
            yield high
        low, high = low + 1, high - 1


def service_name(comparison: Mapping[str, Any], variant: str) -> str:
    """Name of a variant's service: the same in each repetition, so that all are served alike."""
    return f"{comparison['metadata']['name']}-{variant}"


def test_name(comparison: Mapping[str, Any], step: Step) -> str:
    """Name of an attempt's LoadTest.

    A further attempt takes a number above all repetitions, since names have no room for more.
    """
    number = step.repetition + MOST_REPETITIONS * (step.attempt - 1)
    return f"{service_name(comparison, step.variant)}-{number}"


test_name.__test__ = False  # type: ignore[attr-defined] # not for pytest to collect


class InvalidVariantError(Exception):
    """Error of a variant whose fields make no valid service or load; its message says which."""


_NO_MIN_REQUESTS = (
    "minRequests has no effect here, since it would measure slow variants for longer than fast "
    "ones: let the last stage last longer instead"
)


@dataclass(frozen=True)
class Variant:
    """Variant with the complete specs of its service and its load, whose window ends by time."""

    service: Mapping[str, Any]
    load: Mapping[str, Any]
    patch: Mapping[str, Any]
    has_min_requests: bool = False
    """Whether its spec has `minRequests`, which its load has not."""

    @property
    def images(self) -> int:
        """Images per request."""
        return int((self.load.get("request") or {}).get("images") or 1)


def run_of(comparison: Mapping[str, Any]) -> str:
    """Identity of a study: the compared specs, and the annotation that asks for another one.

    More repetitions or a pause don't change it.
    """
    spec = comparison["spec"]
    parts = [spec.get(part) for part in ("service", "variants", "loadTest")]
    # Without the annotation, the identity is that of earlier releases: their studies stay.
    wish = [run_at] if (run_at := run_at_of(comparison)) else []
    return digest([comparison["metadata"]["uid"], *parts, *wish])[:6]


def variants_of(comparison: Mapping[str, Any], spec: ComparisonSpec) -> dict[str, Variant]:
    """Variants in the order of the spec.

    Raises:
        InvalidVariantError: A variant makes no valid service or load.
    """
    raw = comparison["spec"]
    variants = {}
    for each in spec.variants or default_variants():
        specs = {
            "service": merged(raw["service"], each.service),
            "loadTest": merged(raw["loadTest"], each.load_test),
        }
        patch: Mapping[str, Any] = each.service
        for path in each.remove:
            specs, steps_there = _removed(each.name, specs, path)
            if steps_there[0] == "service":
                patch = with_nulls(patch, null_at(steps_there[1:]))
        load = specs["loadTest"]
        has_min_requests = load.pop("minRequests", None) is not None
        variant = Variant(specs["service"], load, patch, has_min_requests)
        _valid(DiffusionServiceSpec, variant.service, f"variant {each.name}: service")
        valid_load = _valid(LoadTemplate, variant.load, f"variant {each.name}: loadTest")
        if (broken := broken_rule(valid_load)) is not None:
            raise InvalidVariantError(f"variant {each.name}: loadTest: {broken}")
        variants[each.name] = variant
    return variants


def _removed(variant: str, specs: Mapping[str, Any], path: str) -> tuple[dict[str, Any], list[str]]:
    """Specs without the field at the path, and the path's steps.

    Raises:
        InvalidVariantError: The path leads to no field of theirs.
    """
    try:
        steps = steps_of(path)
    except ValueError as error:
        raise InvalidVariantError(f"variant {variant}: remove: {error}") from None
    left = without(specs, path)
    if left is None or len(steps) == 1:
        raise InvalidVariantError(
            f"variant {variant}: remove: {path} is no field of spec.service or spec.loadTest: "
            "write for example service.gpu"
        )
    return left, steps


def _valid(model: type[M], fields: Mapping[str, Any], within: str) -> M:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidVariantError(validation_message(error, within)) from error


@dataclass(frozen=True)
class Schedule:
    """Steps of a Comparison in their order, with the runs in its status."""

    comparison: Object
    spec: ComparisonSpec
    variants: Mapping[str, Variant]
    run: str
    known: Sequence[Run]

    @property
    def namespace(self) -> str:
        return str(self.comparison["metadata"]["namespace"])

    def service(self, variant: str) -> Key:
        """Key of the variant's service."""
        return Key("DiffusionService", self.namespace, service_name(self.comparison, variant))

    def test(self, step: Step) -> Key:
        """Key of the step's LoadTest."""
        return Key("LoadTest", self.namespace, test_name(self.comparison, step))

    @property
    def repetitions(self) -> int:
        """Rounds: those of the spec, else those with which the study began, else the default."""
        status = ObservedComparison.of(self.comparison)
        if self.spec.repetitions is not None:
            return self.spec.repetitions
        if status.run != self.run or not status.runs:
            return DEFAULT_REPETITIONS
        return status.design.repetitions if status.design else _EARLIER_DEFAULT

    @property
    def note(self) -> str:
        """Remark on the design: a field of the spec that has no effect."""
        ignored = any(variant.has_min_requests for variant in self.variants.values())
        return _NO_MIN_REQUESTS if ignored else ""

    @property
    def earlier_looks(self) -> tuple[int, ...]:
        """Numbers of rounds with which the study has had a conclusion, in their order."""
        status = ObservedComparison.of(self.comparison)
        known = status.design if status.run == self.run else None
        return known.looks if known else ()

    @property
    def looks(self) -> tuple[int, ...]:
        """Earlier looks and the one at the present number of rounds."""
        earlier = self.earlier_looks
        return earlier if self.repetitions in earlier else (*earlier, self.repetitions)

    @cached_property
    def order(self) -> list[Step]:
        """All steps in order, each with its first attempt."""
        return steps(list(self.variants), self.repetitions)

    @property
    def runs(self) -> list[Run]:
        """Ended runs that still belong to the spec, each attempt among them."""
        desired = set(self.order)
        return [
            run
            for run in self.known
            if run.completion_time and Step(run.variant, run.repetition) in desired
        ]

    @property
    def attempts(self) -> dict[Step, list[Run]]:
        """Ended runs of each step, the latest attempt last."""
        attempts: dict[Step, list[Run]] = {step: [] for step in self.order}
        for run in self.runs:
            attempts[Step(run.variant, run.repetition)].append(run)
        return attempts

    @property
    def counted(self) -> list[Run]:
        """Ended runs whose figures count: the last attempt at each step, unless it is repeated."""
        return [tries[-1] for tries in self.attempts.values() if tries and not _is_due(tries)]

    @property
    def kept(self) -> list[Run]:
        """Ended runs for the status; an attempt that another one follows keeps its outcome only."""
        last = {id(tries[-1]) for tries in self.attempts.values() if tries}
        return [run if id(run) in last else _outcome(run) for run in self.runs]

    @property
    def is_recorded(self) -> bool:
        """Whether the status has the end of exactly these runs."""
        status = ObservedComparison.of(self.comparison)
        same = status.run == self.run and len(self.known) == len(self.runs)
        return same and status.report_ref is not None

    @property
    def next_step(self) -> Step | None:
        """First attempt that is due, in the order of the steps."""
        for step, tries in self.attempts.items():
            if not tries or _is_due(tries):
                return step._replace(attempt=len(tries) + 1)
        return None

    def current(self, step: Step) -> Run | None:
        """Run of that step, if it has begun and not ended."""
        return next(
            (
                run
                for run in self.known
                if Step(run.variant, run.repetition, run.attempt) == step
                and not run.completion_time
            ),
            None,
        )

    def hopeless(self, variant: str) -> Run | None:
        """Earlier run of the variant after which another one is a waste of the hardware.

        The variant did not become Ready, or none of the attempts gave valid figures.
        """
        tries = (tries for step, tries in self.attempts.items() if step.variant == variant)
        for each in tries:
            if each and (each[-1].reason == "NotReady" or _is_used_up(each)):
                return each[-1]
        return None


def _is_due(tries: Sequence[Run]) -> bool:
    return tries[-1].is_worth_repeating and len(tries) < MOST_ATTEMPTS


def _is_used_up(tries: Sequence[Run]) -> bool:
    return tries[-1].is_worth_repeating and len(tries) >= MOST_ATTEMPTS


def _outcome(run: Run) -> Run:
    """Copy of a run without the facts that take room in the status."""
    return run.model_copy(
        update=dict.fromkeys(("fingerprint", "tax", "cold_start", "nodes", "unknown"))
    )


def recorded(comparison: Mapping[str, Any], run: str) -> list[Run]:
    """Runs in the status that belong to the compared specs."""
    status = ObservedComparison.of(comparison)
    return list(status.runs) if status.run == run else []
