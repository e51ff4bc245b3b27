"""Parts of a Comparison's spec: templates, variants, Prometheus queries."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from diffusion_operator.api.diffusionservice import Backend, DiffusionServiceSpec
from diffusion_operator.api.fields import Model, rules
from diffusion_operator.api.load import LOAD_RULES, LoadSpec
from diffusion_operator.api.pod_template import RemovedPath

RAY_WAIT_MILLISECONDS = 10
"""Default wait of `@serve.batch`, which makes batches of one without it."""

Overrides = Annotated[
    dict[str, Any],
    Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]


class ServiceTemplate(DiffusionServiceSpec):
    """A DiffusionService's spec whose backend the variants may choose."""

    backend: Backend | None = Field(  # type: ignore[assignment] # a template leaves it open
        None, description="The framework that serves the model; the variants say so as a rule."
    )
    replicas: int = Field(
        1,
        ge=0,
        le=1000,
        description="Number of pods, each with a copy of the model. Default: 1.",
        json_schema_extra={"format": "int32"},
    )

    # Rules across fields hold for a variant's whole spec, which is checked when it is made.
    model_config = ConfigDict(json_schema_extra={})


class LoadTemplate(LoadSpec):
    """A LoadTest's spec without its target; `minRequests` has no effect in it."""

    model_config = ConfigDict(json_schema_extra=rules(*LOAD_RULES))


class Variant(Model):
    """One way to serve, compared with the others."""

    name: str = Field(
        min_length=1,
        max_length=18,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Its name in the result.",
    )
    service: Overrides = Field(
        default_factory=dict,
        description="Differences from spec.service, as a JSON merge patch: any field of a "
        "DiffusionService's spec (kubectl explain diffusionservice.spec); null takes one away.",
    )
    load_test: Overrides = Field(
        default_factory=dict,
        description="Differences from spec.loadTest, as a JSON merge patch. Variants under "
        "unlike loads are shown side by side and not ranked.",
    )
    remove: tuple[RemovedPath, ...] = Field(
        (),
        max_length=32,
        description="Fields of spec.service and spec.loadTest that this variant lacks, such as "
        "service.gpu or loadTest.think. A null would do the same, but kubectl apply drops it.",
    )


def default_variants() -> tuple[Variant, ...]:
    """Each framework as its own documentation has it, and in front of this project's engine."""
    none, engine, framework = {"mode": "none"}, {"mode": "engine"}, {"mode": "framework"}
    of_ray = {**framework, "maxWaitMilliseconds": RAY_WAIT_MILLISECONDS}
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        ("fastapi", none),
        ("fastapi", engine),
        ("litserve", framework),
        ("litserve", engine),
        ("rayserve", of_ray),
        ("rayserve", engine),
    )
    return tuple(
        Variant(
            name=f"{backend}-{batching['mode']}",
            service={"backend": backend, "batching": batching},
        )
        for backend, batching in ways
    )


Query = Annotated[str, Field(min_length=1, max_length=2000)]


class PrometheusQueries(Model):
    """Figures that a Prometheus has, each by an instant query that gives one number.

    Of each run `$namespace`, `$service` (its pods' names begin with it) and `$window` (the seconds
    of its load, such as 95s) are put in; the query is evaluated at the load's end.
    """

    energy_joules: Query | None = Field(
        None,
        description="Joules that the service's GPUs took, such as "
        "sum(increase(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
        '{exported_namespace="$namespace", exported_pod=~"$service-.*"}[$window])) / 1000.',
    )
    gpu_utilisation: Query | None = Field(
        None,
        description="Share of the time that its GPUs were busy, from 0 to 1, such as "
        "avg(avg_over_time(DCGM_FI_DEV_GPU_UTIL"
        '{exported_namespace="$namespace", exported_pod=~"$service-.*"}[$window])) / 100.',
    )
