"""Work of a Comparison: its variants, its steps and their runs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from diffusion_operator.api.comparison import ComparisonSpec, LoadTemplate, Run, default_variants
from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import Model
from diffusion_operator.api.load import broken_rule
from diffusion_operator.api.observed import ObservedComparison
from diffusion_operator.comparison.children import service_name, test_name
from diffusion_operator.comparison.schedule import Step, steps
from diffusion_operator.kube.merge_patch import merged
from diffusion_operator.kube.metadata import digest
from diffusion_operator.kube.objects import Key, Object
from diffusion_operator.kube.problems import validation_message

M = TypeVar("M", bound=Model)


class InvalidVariantError(Exception):
    """Error of a variant whose fields make no valid service or load; its message says which."""


@dataclass(frozen=True)
class Variant:
    """Variant with the complete specs of its service and its load."""

    service: Mapping[str, Any]
    load: Mapping[str, Any]
    patch: Mapping[str, Any]

    @property
    def images(self) -> int:
        """Images per request."""
        return int((self.load.get("request") or {}).get("images") or 1)


def run_of(comparison: Mapping[str, Any]) -> str:
    """Identity of the compared specs; more repetitions or a pause don't change it."""
    spec = comparison["spec"]
    parts = [spec.get(part) for part in ("service", "variants", "loadTest")]
    return digest([comparison["metadata"]["uid"], *parts])[:6]


def variants_of(comparison: Mapping[str, Any], spec: ComparisonSpec) -> dict[str, Variant]:
    """Variants in the order of the spec.

    Raises:
        InvalidVariantError: A variant makes no valid service or load.
    """
    raw = comparison["spec"]
    variants = {}
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
        variants[each.name] = variant
    return variants


def _valid(model: type[M], fields: Mapping[str, Any], within: str) -> M:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidVariantError(validation_message(error, within)) from error


@dataclass(frozen=True)
class Work:
    """Comparison with the runs in its status."""

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
    def order(self) -> list[Step]:
        """All steps in order."""
        return steps(list(self.variants), self.spec.repetitions)

    @property
    def runs(self) -> list[Run]:
        """Ended runs that still belong to the spec."""
        desired = set(self.order)
        return [
            run
            for run in self.known
            if run.completion_time and Step(run.variant, run.repetition) in desired
        ]

    @property
    def is_told(self) -> bool:
        """Whether the status has the end of exactly these runs."""
        status = ObservedComparison.of(self.comparison)
        same = status.run == self.run and len(self.known) == len(self.runs)
        return same and status.report_ref is not None

    @property
    def next_step(self) -> Step | None:
        """First step without an ended run."""
        done = {Step(run.variant, run.repetition) for run in self.runs}
        return next((step for step in self.order if step not in done), None)

    def current(self, step: Step) -> Run | None:
        """Run of that step, if it has begun and not ended."""
        return next(
            (
                run
                for run in self.known
                if Step(run.variant, run.repetition) == step and not run.completion_time
            ),
            None,
        )

    def never_ready(self, variant: str) -> Run | None:
        """Earlier run of the variant that did not become Ready; another one won't, either."""
        return next(
            (run for run in self.runs if run.variant == variant and run.reason == "NotReady"), None
        )


def recorded(comparison: Mapping[str, Any], run: str) -> list[Run]:
    """Runs in the status that belong to the compared specs."""
    status = ObservedComparison.of(comparison)
    return list(status.runs) if status.run == run else []
