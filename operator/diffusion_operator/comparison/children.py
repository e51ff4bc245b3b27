"""Children of a Comparison: a variant's DiffusionService and its LoadTest."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.comparison import MOST_REPETITIONS
from diffusion_operator.comparison.schedule import Step
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import RUN_LABEL, Object, labels_of

VARIANT_LABEL = "diffusion.dev/variant"
REPETITION_LABEL = "diffusion.dev/repetition"
ATTEMPT_LABEL = "diffusion.dev/attempt"


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
    """LoadTest of one repetition; it stays, since its report is part of the result."""
    return child(
        comparison,
        "LoadTest",
        test_name(comparison, step),
        more_labels=_labels(step, run),
        spec={
            **load,
            "targetRef": {"name": service_name(comparison, step.variant)},
            "rerun": "Never",
        },
    )
