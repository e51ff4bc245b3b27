"""Pod template: changes to the built pod, merged as kubectl would."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Model,
    rule,
    rules,
)


class _Open(Model):
    """Holds fields beyond those declared here, which stand here for what the schema checks."""

    model_config = ConfigDict(
        frozen=True, extra="allow", json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )


class PodTemplateMetadata(_Open):
    """Labels and annotations of the pods."""

    labels: dict[str, Annotated[str, Field(max_length=63)]] | None = Field(
        None,
        max_length=64,
        description="Labels beside the operator's own.",
        json_schema_extra=rules(
            rule(
                "self.all(k, !k.startsWith('diffusion.dev/')"
                " && !k.startsWith('app.kubernetes.io/'))",
                "labels of diffusion.dev/ and app.kubernetes.io/ are the operator's own, by which "
                "the pods are found: choose others",
            )
        ),
    )


class PodTemplateContainer(_Open):
    """A container, merged into the one of the same name."""

    name: str = Field(
        min_length=1,
        max_length=63,
        description="Which container; the one that serves the model is called server, the one of "
        "a load test locust.",
    )


class PodTemplateSpec(_Open):
    """The pod's spec."""

    containers: tuple[PodTemplateContainer, ...] | None = Field(
        None,
        max_length=16,
        description="Containers: server is changed, another one is a sidecar.",
    )
    restart_policy: Literal["Always"] | None = Field(
        None, description="Always: a server that exits is restarted."
    )


RemovedPath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        json_schema_extra=rules(
            rule(
                r"self.matches('^[^.\\[\\]]+(\\.[^.\\[\\]]+|\\[[^\\]]+\\])*$')",
                "write a path such as spec.securityContext.runAsUser or "
                "spec.containers[server].env[HTTP_PROXY]",
            )
        ),
    ),
]


class PodTemplate(_Open):
    """Changes to the built pod, merged into it as kubectl patch --type=strategic would."""

    metadata: PodTemplateMetadata | None = Field(
        None, description="Labels and annotations of the pods."
    )
    spec: PodTemplateSpec | None = Field(None, description="The pod's spec.")
    remove: tuple[RemovedPath, ...] | None = Field(
        None,
        max_length=32,
        description="Paths of fields to take away, such as spec.securityContext.runAsUser; an item "
        "of a list by its name: spec.containers[server].env[HTTP_PROXY]. A null would do the same, "
        "but kubectl apply drops it.",
    )


class RunnerTemplateSpec(_Open):
    """The spec of a runner's or worker's pod."""

    containers: tuple[PodTemplateContainer, ...] | None = Field(
        None, max_length=16, description="Containers: locust is changed, another one is a sidecar."
    )
    restart_policy: Literal["Never"] | None = Field(
        None, description="Never: a second start would mix two loads in one report."
    )


class RunnerTemplate(_Open):
    """Changes to the pods of a load test, merged as kubectl patch --type=strategic would."""

    metadata: PodTemplateMetadata | None = Field(
        None, description="Labels and annotations of the pods."
    )
    spec: RunnerTemplateSpec | None = Field(None, description="The pod's spec.")
    remove: tuple[RemovedPath, ...] | None = Field(
        None, max_length=32, description="Paths of fields to take away, as in a DiffusionService."
    )
