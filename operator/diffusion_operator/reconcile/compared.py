"""What a Comparison asks for, and how far it has come: all that its steps go by. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from diffusion_operator.api.comparison import ComparisonSpec, LoadTemplate, Run, default_variants
from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import Model
from diffusion_operator.api.loadtest import broken_rule
from diffusion_operator.build.compared import service_name, test_name
from diffusion_operator.build.metadata import digest
from diffusion_operator.compare.plan import Step, merged, steps
from diffusion_operator.objects import Key, Object
from diffusion_operator.reconcile.problems import mistakes

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


@dataclass(frozen=True)
class Work:
    """A Comparison, and the runs of it that the status has."""

    comparison: Object
    spec: ComparisonSpec
    variants: Mapping[str, Variant]
    run: str
    known: Sequence[Run]

    @property
    def namespace(self) -> str:
        return str(self.comparison["metadata"]["namespace"])

    def service(self, variant: str) -> Key:
        """Where the variant's service is, while it is."""
        return Key("DiffusionService", self.namespace, service_name(self.comparison, variant))

    def test(self, step: Step) -> Key:
        """Where the step's LoadTest is, once it is."""
        return Key("LoadTest", self.namespace, test_name(self.comparison, step))

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
