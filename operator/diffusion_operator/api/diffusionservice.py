"""DiffusionService: a served Stable Diffusion pipeline."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Decimal,
    Duration,
    Model,
    decimal_rules,
    duration_rules,
    rule,
    rules,
)
from diffusion_operator.api.status import Condition

Precision = Literal["float16", "bfloat16", "float32"]
Scheduler = Literal["ddim", "euler", "dpm++2m", "unipc", "lcm"]
GuidanceScale = Annotated[
    Decimal,
    Field(
        json_schema_extra=decimal_rules(
            "double(self) <= 100.0", 'guidanceScale is at most 100: write for example "7.5"'
        )
    ),
]
Side = Annotated[int, Field(ge=64, le=4096, multiple_of=8)]


class Gpu(Model):
    """The accelerator that each replica gets."""

    type: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        description="A name of the operator's accelerator catalogue, such as nvidia-l4. The "
        "catalogue stands in the Helm chart's values; an unknown name is answered with the "
        "known ones in the Ready condition.",
    )


class ModelSource(Model):
    """Where the weights come from."""

    source: str = Field(
        max_length=512,
        description="A diffusers Stable Diffusion directory with safetensors weights: "
        "image:///PATH is a path inside the serving image, pvc://CLAIM/PATH a path on a "
        "PersistentVolumeClaim of the same namespace, mounted read-only.",
        json_schema_extra=rules(
            rule(
                r"self.matches('^image:///[^ ]*[^ /]$') "
                r"|| self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^ ]+)?$')",
                "model.source must be image:///PATH (inside the serving image) "
                "or pvc://CLAIM/PATH (on a PersistentVolumeClaim)",
            ),
            rule(
                "!self.contains('..')",
                "model.source must not contain '..': write the path without going up",
            ),
        ),
    )


class Generation(Model):
    """What a request gets that doesn't say otherwise."""

    steps: int = Field(
        4, ge=1, le=500, description="Denoising steps, each one U-Net call. Default: 4."
    )
    guidance_scale: GuidanceScale = Field(
        "7.5",
        description="Classifier-free guidance as a decimal string; at most 1 means none. "
        'Default: "7.5".',
    )
    width: Side | None = Field(
        None, description="Pixels, a multiple of 8. Default: the size that the model was made for."
    )
    height: Side | None = Field(
        None, description="Pixels, a multiple of 8. Default: the size that the model was made for."
    )
    scheduler: Scheduler = Field(
        "euler", description="The sampler, configured from the model's own. Default: euler."
    )


class Limits(Model):
    """The largest request that is accepted; a larger one is refused with what to change."""

    max_steps: int = Field(
        100, ge=1, le=500, description="Most denoising steps of a request. Default: 100."
    )
    max_pixels: int = Field(
        1048576,
        ge=4096,
        le=16777216,
        description="Most pixels of one image, width times height. Default: 1048576.",
    )
    max_images_per_request: int = Field(
        4, ge=1, le=64, description="Most images of one request. Default: 4."
    )
    max_prompt_length: int = Field(
        1000, ge=1, le=10000, description="Most characters of a prompt. Default: 1000."
    )


class Queue(Model):
    """What waits for the device."""

    max_length: int = Field(
        64,
        ge=1,
        le=10000,
        description="Requests that may wait in one replica; more are answered 429. Default: 64.",
    )
    timeout: Duration = Field(
        "60s",
        description="The longest a request may wait before it starts; then it is answered 504. "
        "Default: 60s.",
        json_schema_extra=duration_rules(
            "duration(self) >= duration('1s') && duration(self) <= duration('1h')",
            "queue.timeout is between 1s and 1h",
        ),
    )


class DiffusionServiceSpec(Model):
    """What is to be served, and how."""

    backend: Literal["fastapi"] = Field(description="The framework that serves the model.")
    replicas: int = Field(
        1,
        ge=0,
        le=1000,
        description="Number of pods, each with a copy of the model. Default: 1.",
        json_schema_extra={"crd-default": 1, "format": "int32"},
    )
    gpu: Gpu | None = Field(
        None, description="The accelerator of each replica; left out, the model runs on CPU."
    )
    precision: Precision | None = Field(
        None,
        description="Number format of weights and arithmetic. Default: float16 with a GPU, "
        "float32 without.",
    )
    model: ModelSource = Field(description="The weights.")
    generation: Generation = Field(
        Generation(), description="What a request gets that doesn't say otherwise."
    )
    limits: Limits = Field(Limits(), description="The largest request that is accepted.")
    queue: Queue = Field(Queue(), description="What waits for the device.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.gpu) || !has(self.precision) || self.precision != 'float16'",
                "float16 needs a GPU: set gpu.type, or write precision: float32 to run on CPU",
                ".precision",
            ),
            rule(
                "!has(self.generation) || !has(self.generation.steps)"
                " || self.generation.steps <= (has(self.limits) && has(self.limits.maxSteps)"
                " ? self.limits.maxSteps : 100)",
                "generation.steps is above limits.maxSteps (default 100): "
                "lower it or raise the limit",
                ".generation.steps",
            ),
            rule(
                "!has(self.generation) || !has(self.generation.width)"
                " || !has(self.generation.height)"
                " || self.generation.width * self.generation.height"
                " <= (has(self.limits) && has(self.limits.maxPixels)"
                " ? self.limits.maxPixels : 1048576)",
                "generation.width times generation.height is above limits.maxPixels "
                "(default 1048576): lower them or raise the limit",
                ".generation",
            ),
        )
    )


class Failure(Model):
    """The latest thing that went wrong in a pod, kept after the pod is gone."""

    pod: str = Field(max_length=253, description="Name of the pod.")
    reason: str = Field(max_length=1024, description="The cause in one word.")
    exit_code: int | None = Field(None, description="Exit code of the container, if it exited.")
    message: str = Field(max_length=4096, description="The cause in a sentence.")
    time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="When it happened."
    )


class DiffusionServiceStatus(Model):
    """What is there."""

    observed_generation: int = Field(
        0, ge=0, description="The metadata.generation that this status was computed from."
    )
    conditions: tuple[Condition, ...] = Field(
        (), max_length=16, description="Ready, Progressing, PodsScheduled, ModelLoaded."
    )
    replicas: int = Field(0, ge=0, description="Pods that exist.")
    ready_replicas: int = Field(0, ge=0, description="Pods that answer requests.")
    selector: str = Field(
        "", max_length=1024, description="Label selector of the pods, for the scale subresource."
    )
    url: str = Field("", max_length=2048, description="Where to send requests in the cluster.")
    revision: str | None = Field(
        None, max_length=63, description="Revision that answers requests; set once it does."
    )
    precision: Precision | None = Field(None, description="The precision that is served.")
    last_failure: Failure | None = Field(
        None, description="The latest thing that went wrong in a pod of this service."
    )


class DiffusionServiceObject(Model):
    """A Stable Diffusion model behind HTTP: Deployment, Service and ServiceAccount of one name."""

    spec: DiffusionServiceSpec = Field(description="What is to be served, and how.")
    status: DiffusionServiceStatus | None = Field(None, description="What is there.")
