"""DiffusionService: a served Stable Diffusion pipeline."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Duration,
    GuidanceScale,
    Model,
    SecretKey,
    Side,
    duration_rules,
    rule,
    rules,
)
from diffusion_operator.api.model_source import ModelSource
from diffusion_operator.api.pod_template import PodTemplate
from diffusion_operator.api.provenance import Provenance
from diffusion_operator.api.rollout import Rollout
from diffusion_operator.api.route import Route
from diffusion_operator.api.safety import Safety
from diffusion_operator.api.status import Condition, Failure

Backend = Literal["fastapi", "litserve", "rayserve"]
Precision = Literal["float16", "bfloat16", "float32"]
Scheduler = Literal[
    "ddim",
    "euler",
    "euler-karras",
    "euler-ancestral",
    "dpm++2m",
    "dpm++2m-karras",
    "unipc",
    "lcm",
    "own",
]


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
    count: int = Field(
        1,
        ge=1,
        le=16,
        description="GPUs of one pod, each with a copy of the model and a queue of its own. "
        "Default: 1.",
    )


class Generation(Model):
    """Defaults of a request."""

    steps: int = Field(
        4, ge=1, le=500, description="Denoising steps, each one U-Net call. Default: 4."
    )
    guidance_scale: GuidanceScale = Field(
        "7.5",
        description="Classifier-free guidance; at most 1 means none. Default: 7.5.",
    )
    width: Side | None = Field(
        None, description="Pixels, a multiple of 8. Default: the size that the model was made for."
    )
    height: Side | None = Field(
        None, description="Pixels, a multiple of 8. Default: the size that the model was made for."
    )
    scheduler: Scheduler = Field(
        "euler",
        description="The sampler, configured from the model's own; own is that itself. A model "
        "whose noise it can't follow is refused. Default: euler.",
    )


class Limits(Model):
    """The largest request that is accepted; a larger one is refused with what to change."""

    max_steps: int = Field(
        100, ge=1, le=500, description="Limit of denoising steps of a request. Default: 100."
    )
    max_pixels: int = Field(
        1048576,
        ge=4096,
        le=16777216,
        description="Limit of pixels of one image, width times height. Default: 1048576.",
    )
    max_images_per_request: int = Field(
        4, ge=1, le=64, description="Limit of images of one request. Default: 4."
    )
    max_prompt_length: int = Field(
        1000, ge=1, le=10000, description="Limit of characters of a prompt. Default: 1000."
    )


class Batching(Model):
    """Batching: the way in which waiting requests become one call of the model."""

    mode: Literal["engine", "framework", "none"] = Field(
        "engine",
        description="engine: what waits is taken together whenever the device is free. "
        "framework: LitServe's or Ray Serve's own batching, as their documentation gives it. "
        "none: one request at a time. Default: engine.",
    )
    max_size: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Upper bound of the images that share one call or step of the model. Default: "
        "with a GPU and the mode engine what the measured cost curve says; 8 in another mode, on a "
        "CPU, and with compile.",
    )
    max_wait_milliseconds: int = Field(
        0,
        ge=0,
        le=10000,
        description="Time that a call waits for more requests. Default: 0.",
    )


class RayServe(Model):
    """Settings of the rayserve backend."""

    topology: Literal["pods", "cluster"] = Field(
        "pods",
        description="pods: every pod is a whole Ray node of its own, so that none depends on "
        "another. cluster: one Ray cluster of a head and worker pods over several machines, with "
        "Ray Serve routing between them. KubeRay makes it, and a second one to take over at a "
        "change; without KubeRay it is refused. Losing the head is downtime. Default: pods.",
    )


class Auth(Model):
    """Access to the service."""

    api_key_secret_ref: SecretKey = Field(
        description="The valid API keys, one a line, so that they can be rotated: a changed "
        "Secret takes effect without a restart, within a minute or so.",
    )


class ServiceAccountSpec(Model):
    """The identity that the pods run as."""

    annotations: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict,
        max_length=32,
        description="Annotations of the ServiceAccount, by which clouds grant it access: "
        "iam.gke.io/gcp-service-account, eks.amazonaws.com/role-arn, …",
    )


class Autoscaling(Model):
    """Autoscaling of replicas by waiting requests."""

    min_replicas: int = Field(1, ge=1, le=1000, description="Fewest replicas. Default: 1.")
    max_replicas: int = Field(ge=1, le=1000, description="Upper limit of replicas.")
    target_queued_per_replica: int = Field(
        4,
        ge=1,
        le=10000,
        description="Requests that may wait in each replica, beside those that it runs, before "
        "there is one more. Default: 4.",
    )
    provider: Literal["Auto", "KEDA", "HPA", "Operator"] = Field(
        "Auto",
        description="Component that sets the replicas. KEDA: a ScaledObject. HPA: a "
        "HorizontalPodAutoscaler on a custom-metrics API. Operator: the operator reads the "
        "metrics of the pods itself. Auto: the first of these that the cluster has. Default: Auto.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
                "autoscaling.minReplicas is above autoscaling.maxReplicas: lower it or raise that",
                ".minReplicas",
            )
        )
    )


class Queue(Model):
    """Queue of requests for the device."""

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
    """Desired service: backend, model and placement."""

    backend: Backend = Field(description="The framework that serves the model.")
    replicas: int = Field(
        1,
        ge=0,
        le=1000,
        description="Number of pods, each with a copy of the model; ignored while autoscaling is "
        "set. Default: 1.",
        json_schema_extra={"crd-default": 1, "format": "int32"},
    )
    image: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="Serving image of this service alone, best by digest: a new release of the "
        "operator leaves it as it is. Default: the operator's own image of the backend.",
        json_schema_extra=rules(
            rule(
                r"self.matches('^[^ \\t\\r\\n]+$')",
                "image is one reference without blanks, such as registry/name@sha256:…",
            )
        ),
    )
    autoscaling: Autoscaling | None = Field(
        None,
        description="Replicas by the requests that wait: through KEDA or a custom-metrics API "
        "where the cluster has one, by the operator otherwise. Default: replicas says how many.",
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
    generation: Generation = Field(Generation(), description="Defaults of a request.")
    limits: Limits = Field(Limits(), description="The largest request that is accepted.")
    batching: Batching = Field(
        Batching(),
        description="Batching: the way in which waiting requests become one call of the model.",
    )
    queue: Queue = Field(Queue(), description="Queue of requests for the device.")
    rollout: Rollout = Field(Rollout(), description="Takeover by a new revision.")
    compile: Literal["none", "regional", "full"] = Field(
        "none",
        description="torch.compile of the model: regional compiles its repeated blocks, full the "
        "whole of it. Faster afterwards, and slower to start. Default: none.",
    )
    rayserve: RayServe | None = Field(None, description="Settings of the rayserve backend.")
    auth: Auth | None = Field(
        None, description="Access to the service. Default: every client that reaches it."
    )
    provenance: Provenance = Field(
        Provenance(), description="Marks of origin in every picture: POST /verify reads them."
    )
    safety: Safety = Field(Safety(), description="Check of every picture before it is given away.")
    route: Route | None = Field(
        None, description="The way in from outside the cluster. Default: there is none."
    )
    service_account: ServiceAccountSpec = Field(
        ServiceAccountSpec(), description="The identity that the pods run as."
    )
    pod_template: PodTemplate | None = Field(
        None,
        description="Changes to the pods, merged into what the operator builds as kubectl patch "
        "--type=strategic would: sidecars, volumes, env, affinity, priorityClassName, … gpu.type's "
        "own placement holds as well. The head of a Ray cluster gets the changes, too, but for the "
        "server's resources.",
    )
    suspend: bool = Field(
        False,
        description="True ends all pods and frees their GPUs; replicas stays as it is for when "
        "it is false again. Default: false.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.gpu) || !has(self.precision) || self.precision != 'float16'",
                "float16 needs a GPU: set gpu.type, or write precision: float32 to run on CPU",
                ".precision",
            ),
            rule(
                "(has(self.generation) && has(self.generation.steps) ? self.generation.steps : 4)"
                " <= (has(self.limits) && has(self.limits.maxSteps)"
                " ? self.limits.maxSteps : 100)",
                "generation.steps (default 4) is above limits.maxSteps (default 100): "
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
            rule(
                "self.backend != 'fastapi' || !has(self.batching) || !has(self.batching.mode)"
                " || self.batching.mode != 'framework'",
                "FastAPI has no batching of its own: write batching.mode: engine or none, or "
                "choose backend litserve or rayserve",
                ".batching.mode",
            ),
            rule(
                "!has(self.autoscaling) || !has(self.rayserve) || !has(self.rayserve.topology)"
                " || self.rayserve.topology != 'cluster'",
                "autoscaling is for rayserve.topology: pods, as a Ray cluster has one queue for "
                "all: leave it out and set replicas",
                ".autoscaling",
            ),
            rule(
                "!has(self.rollout) || !has(self.rollout.gate) || !has(self.rayserve)"
                " || !has(self.rayserve.topology) || self.rayserve.topology != 'cluster'",
                "rollout.gate is for rayserve.topology: pods: leave it out",
                ".rollout.gate",
            ),
            rule(
                "!has(self.model.cache) || !has(self.model.cache.accessMode)"
                " || self.model.cache.accessMode != 'ReadWriteOnce'"
                " || (has(self.autoscaling) ? self.autoscaling.maxReplicas : self.replicas) <= 1",
                "model.cache.accessMode: ReadWriteOnce is a volume for one node: set replicas (or "
                "autoscaling.maxReplicas) to 1, or use a ReadWriteMany storage class",
                ".model.cache.accessMode",
            ),
            rule(
                "!has(self.rayserve) || self.backend == 'rayserve'",
                "rayserve is for backend: rayserve only: leave it out",
                ".rayserve",
            ),
        )
    )


class DiffusionServiceStatus(Model):
    """Observed state of the service."""

    observed_generation: int = Field(
        0, ge=0, description="The metadata.generation that this status was computed from."
    )
    conditions: tuple[Condition, ...] = Field(
        (),
        max_length=16,
        description="Ready, Progressing, PodsScheduled, ModelLoaded, Stopped; "
        "ScalingActive with autoscaling, RouteAccepted with route.",
    )
    replicas: int = Field(0, ge=0, description="Pods that exist.")
    ready_replicas: int = Field(0, ge=0, description="Pods that answer requests.")
    selector: str = Field(
        "", max_length=1024, description="Label selector of the pods, for the scale subresource."
    )
    url: str = Field(
        "",
        max_length=2048,
        description="URL for requests: the route's address, or the cluster's own.",
    )
    revision: str | None = Field(
        None, max_length=63, description="Revision that answers requests; set once it does."
    )
    failed_revision: str | None = Field(
        None,
        max_length=63,
        description="The spec's revision, where it never became ready and another serves.",
    )
    precision: Precision | None = Field(None, description="The precision that is served.")
    last_failure: Failure | None = Field(
        None, description="The latest thing that went wrong in a pod of this service."
    )


class DiffusionServiceObject(Model):
    """A Stable Diffusion model behind HTTP: Deployment, Service and ServiceAccount of one name."""

    spec: DiffusionServiceSpec = Field(description="Desired service: backend, model and placement.")
    status: DiffusionServiceStatus | None = Field(
        None, description="Observed state of the service."
    )
