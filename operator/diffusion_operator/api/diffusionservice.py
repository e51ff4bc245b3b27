"""DiffusionService: a served Stable Diffusion pipeline."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Decimal,
    Duration,
    GuidanceScale,
    Model,
    ObjectName,
    SecretKey,
    Side,
    decimal_rules,
    duration_rules,
    rule,
    rules,
)
from diffusion_operator.api.loadtest import LOAD_RULES, LoadSpec
from diffusion_operator.api.status import Condition

Backend = Literal["fastapi", "litserve", "rayserve"]
Precision = Literal["float16", "bfloat16", "float32"]
Scheduler = Literal["ddim", "euler", "dpm++2m", "unipc", "lcm"]


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


_PATHS = (
    r"self.matches('^image:///[^ ]*[^ /]$') "
    r"|| self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^ ]+)?$')"
    r"|| self.matches('^hf://[A-Za-z0-9][-A-Za-z0-9._]*(/[A-Za-z0-9][-A-Za-z0-9._]*)?$')"
    r"|| self.matches('^(s3|gs)://[a-z0-9][-a-z0-9._]*[a-z0-9](/[^ ]+)?$')"
)
# Repositories of LoRAs often have several, of which one is meant.
_FILES = (
    r"|| self.matches('^hf://[A-Za-z0-9][-A-Za-z0-9._]*/[A-Za-z0-9][-A-Za-z0-9._]*"
    r"/[^ @]+[.]safetensors$')"
)
_NO_WAY_UP = "must not contain '..': write the path without going up"
_WHAT_SOURCES = (
    "image:///PATH is a path inside the serving image, pvc://CLAIM/PATH a path on a "
    "PersistentVolumeClaim of the same namespace, mounted read-only; hf://OWNER/REPOSITORY is "
    "fetched from the Hugging Face Hub, s3://BUCKET/PATH and gs://BUCKET/PATH from a bucket."
)
# Of a model and its LoRAs: whether any of them is fetched from there.
_ANY_HUB = (
    "(self.source.startsWith('hf://')"
    " || has(self.loras) && self.loras.exists(l, l.source.startsWith('hf://')))"
)
_ANY_BUCKET = (
    "(self.source.startsWith('s3://') || self.source.startsWith('gs://') || has(self.loras)"
    " && self.loras.exists(l, l.source.startsWith('s3://') || l.source.startsWith('gs://')))"
)


def _source_rules(field: str, paths: str = _PATHS, hub: str = "") -> dict[str, Any]:
    return rules(
        rule(
            paths,
            f"{field} must be image:///PATH (inside the serving image), pvc://CLAIM/PATH (on a "
            f"PersistentVolumeClaim), hf://OWNER/REPOSITORY{hub} (the Hugging Face Hub; a revision "
            "is written in model.revision), s3://BUCKET/PATH or gs://BUCKET/PATH",
        ),
        rule("!self.contains('..')", f"{field} {_NO_WAY_UP}"),
    )


class SecretName(Model):
    """A whole Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class Lora(Model):
    """A LoRA that a request may name."""

    name: str = Field(
        min_length=1,
        max_length=50,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="What a request calls it.",
    )
    source: str = Field(
        max_length=512,
        description=f"A LoRA in safetensors, as a file or a directory. {_WHAT_SOURCES} Where a "
        "repository holds several LoRAs, end the source in the path of one, as in "
        "hf://OWNER/REPOSITORY/PATH.safetensors.",
        json_schema_extra=_source_rules(
            "a LoRA's source", f"{_PATHS} {_FILES}", " or hf://OWNER/REPOSITORY/PATH.safetensors"
        ),
    )
    scale: Decimal = Field(
        "1",
        description="How strongly it acts where a request doesn't say, a decimal string. "
        'Default: "1".',
        json_schema_extra=decimal_rules(
            "double(self) <= 4.0", 'scale is at most 4: write for example "0.8"'
        ),
    )


class ModelCache(Model):
    """A volume that keeps what was fetched, shared by the replicas and filled once."""

    claim_name: ObjectName | None = Field(
        None,
        description="A PersistentVolumeClaim of the same namespace. Several services may share it.",
    )
    size: str | None = Field(
        None,
        max_length=32,
        description="Or the size of a claim of the service's own, such as 20Gi; it goes when the "
        "service goes. Its storage class must offer ReadWriteMany.",
        json_schema_extra=rules(
            rule(
                "isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",
                "model.cache.size is a quantity such as 20Gi",
            ),
            rule(
                "!isQuantity(self) || !isQuantity(oldSelf)"
                " || !quantity(self).isLessThan(quantity(oldSelf))",
                "model.cache.size can only grow: a claim can't be made smaller",
            ),
        ),
    )
    storage_class_name: ObjectName | None = Field(
        None,
        description="Storage class of that claim. Default: the cluster's own default.",
        json_schema_extra=rules(
            rule(
                "self == oldSelf",
                "model.cache.storageClassName can't be changed: make a claim of the other class "
                "and name it by model.cache.claimName",
            )
        ),
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.claimName) != has(self.size)",
                "set exactly one of model.cache.claimName (a claim that exists) and "
                "model.cache.size (one is made)",
            ),
            rule(
                "!has(self.storageClassName) || has(self.size)",
                "model.cache.storageClassName belongs to model.cache.size: leave one of them out",
            ),
        )
    )


class ModelSource(Model):
    """Where the weights come from."""

    source: str = Field(
        max_length=512,
        description="A diffusers Stable Diffusion directory with safetensors weights: "
        f"{_WHAT_SOURCES}",
        json_schema_extra=_source_rules("model.source"),
    )
    revision: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][-A-Za-z0-9._/]*$",
        description="Branch, tag or commit of an hf:// source. Default: main.",
    )
    token_secret_ref: SecretKey | None = Field(
        None, description="Token of the Hugging Face Hub, for hf:// sources that ask for one."
    )
    credentials_secret_ref: SecretName | None = Field(
        None,
        description="Credentials of s3:// and gs:// sources: for s3 each key becomes an "
        "environment variable (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …), for gs the key key.json "
        "is the service account's file. Only the container that fetches gets them.",
    )
    loras: tuple[Lora, ...] = Field(
        (),
        max_length=16,
        description="LoRAs that a request may name.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    cache: ModelCache | None = Field(
        None,
        description="A volume that keeps what was fetched. Default: each pod fetches for itself.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.revision) || self.source.startsWith('hf://')",
                "model.revision is for hf:// sources only: leave it out",
                ".revision",
            ),
            rule(
                f"!has(self.tokenSecretRef) || {_ANY_HUB}",
                "model.tokenSecretRef is for hf:// sources only: leave it out",
                ".tokenSecretRef",
            ),
            rule(
                f"!has(self.credentialsSecretRef) || {_ANY_BUCKET}",
                "model.credentialsSecretRef is for s3:// and gs:// sources only: leave it out",
                ".credentialsSecretRef",
            ),
            rule(
                f"!has(self.cache) || {_ANY_HUB} || {_ANY_BUCKET}",
                "model.cache keeps what is fetched from hf://, s3:// or gs://, and nothing here "
                "is: leave it out",
                ".cache",
            ),
        )
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


class Batching(Model):
    """How requests that wait together become one call of the model."""

    mode: Literal["engine", "framework", "none"] = Field(
        "engine",
        description="engine: what waits is taken together whenever the device is free. "
        "framework: LitServe's or Ray Serve's own batching, as their documentation gives it. "
        "none: one request at a time. Default: engine.",
    )
    max_size: int = Field(
        8, ge=1, le=64, description="Most images of one call of the model. Default: 8."
    )
    max_wait_milliseconds: int = Field(
        0,
        ge=0,
        le=10000,
        description="How long a call waits for more requests to join it. Default: 0.",
    )


class RayServe(Model):
    """What only the rayserve backend has."""

    topology: Literal["pods", "cluster"] = Field(
        "pods",
        description="pods: every pod is a whole Ray node of its own, so that none depends on "
        "another. cluster: one Ray cluster of a head and worker pods, with Ray Serve routing "
        "between them; losing the head is downtime. Where KubeRay is installed it makes the "
        "cluster, and a second one to take over at a change. Default: pods.",
    )


class Auth(Model):
    """Who may send requests."""

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
        description="Which container; the one that serves the model is called server.",
    )


class PodTemplateSpec(_Open):
    """The pod's spec."""

    containers: tuple[PodTemplateContainer, ...] | None = Field(
        None,
        max_length=16,
        description="Containers: server is changed, another one is a sidecar.",
    )
    restart_policy: Literal["Always"] | None = Field(
        None, description="Always: a server that ends is started again."
    )


class PodTemplate(_Open):
    """Changes to the built pod, merged into it as kubectl patch --type=strategic would."""

    metadata: PodTemplateMetadata | None = Field(
        None, description="Labels and annotations of the pods."
    )
    spec: PodTemplateSpec | None = Field(None, description="The pod's spec.")


class Autoscaling(Model):
    """How many replicas there are, by the requests that wait."""

    min_replicas: int = Field(1, ge=1, le=1000, description="Fewest replicas. Default: 1.")
    max_replicas: int = Field(ge=1, le=1000, description="Most replicas.")
    target_queued_per_replica: int = Field(
        4,
        ge=1,
        le=10000,
        description="Requests that may wait in each replica before there is one more. Default: 4.",
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


class GatewayRef(Model):
    """A Gateway of the Gateway API."""

    name: ObjectName = Field(description="Name of the Gateway.")
    namespace: ObjectName | None = Field(
        None, description="Its namespace. Default: the service's own."
    )
    section_name: ObjectName | None = Field(
        None, description="Name of the listener to use. Default: each that fits the host."
    )
    scheme: Literal["https", "http"] = Field(
        "https", description="What that listener speaks, for status.url. Default: https."
    )


class Route(Model):
    """The way in from outside the cluster."""

    host: str = Field(
        min_length=1,
        max_length=253,
        description="Host name, such as images.example.com.",
        json_schema_extra=rules(
            rule(
                r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
                "route.host is a host name alone, such as images.example.com",
            )
        ),
    )
    gateway_ref: GatewayRef | None = Field(
        None, description="The Gateway that an HTTPRoute is made for. TLS ends at its listener."
    )
    ingress_class_name: ObjectName | None = Field(
        None, description="Or the class of an Ingress that is made, such as nginx."
    )
    tls_secret_name: ObjectName | None = Field(
        None, description="Secret with the certificate of an Ingress. Default: no TLS."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.gatewayRef) != has(self.ingressClassName)",
                "set exactly one of route.gatewayRef (an HTTPRoute is made) and "
                "route.ingressClassName (an Ingress is made)",
            ),
            rule(
                "!has(self.tlsSecretName) || has(self.ingressClassName)",
                "route.tlsSecretName is for an Ingress: with a Gateway the certificate is named "
                "in its listener",
                ".tlsSecretName",
            ),
        )
    )


class GateLoad(LoadSpec):
    """The load that a candidate is tried with."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *LOAD_RULES,
            rule(
                "has(self.slo)",
                "say in slo what a new revision has to keep, such as slo: {p95: 8s}",
                ".slo",
            ),
        )
    )


class RolloutGate(Model):
    """What a new revision has to pass before it takes over."""

    load_test_template: GateLoad = Field(
        description="A LoadTest's spec without a target. One replica of the new revision is tried "
        "with it on a preview Service of its own; requests go to the new revision only when that "
        "LoadTest is Valid and SLOMet."
    )


class Rollout(Model):
    """How a new revision takes over."""

    gate: RolloutGate | None = Field(
        None,
        description="What a new revision has to pass before it takes over. Default: nothing. The "
        "first revision of a service has no one to take over from, and none to pass.",
    )

    on_failure: Literal["Rollback", "Hold"] = Field(
        "Rollback",
        description="What happens when no pod of a new revision becomes ready. Rollback: the last "
        "revision that served comes back until the spec changes again. Hold: the rollout stays "
        "where it is. Default: Rollback.",
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

    backend: Backend = Field(description="The framework that serves the model.")
    replicas: int = Field(
        1,
        ge=0,
        le=1000,
        description="Number of pods, each with a copy of the model; ignored while autoscaling is "
        "set. Default: 1.",
        json_schema_extra={"crd-default": 1, "format": "int32"},
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
    generation: Generation = Field(
        Generation(), description="What a request gets that doesn't say otherwise."
    )
    limits: Limits = Field(Limits(), description="The largest request that is accepted.")
    batching: Batching = Field(
        Batching(), description="How requests that wait together become one call of the model."
    )
    queue: Queue = Field(Queue(), description="What waits for the device.")
    rollout: Rollout = Field(Rollout(), description="How a new revision takes over.")
    compile: Literal["none", "regional", "full"] = Field(
        "none",
        description="torch.compile of the model: regional compiles its repeated blocks, full the "
        "whole of it. Faster afterwards, and slower to start. Default: none.",
    )
    rayserve: RayServe | None = Field(None, description="What only the rayserve backend has.")
    auth: Auth | None = Field(
        None, description="Who may send requests. Default: whoever reaches the service."
    )
    route: Route | None = Field(
        None, description="The way in from outside the cluster. Default: there is none."
    )
    service_account: ServiceAccountSpec = Field(
        ServiceAccountSpec(), description="The identity that the pods run as."
    )
    pod_template: PodTemplate | None = Field(
        None,
        description="Changes to the pods, merged into what the operator builds as kubectl patch "
        "--type=strategic would: sidecars, volumes, env, affinity, priorityClassName, … The head "
        "of a Ray cluster is left as it is.",
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
                "!has(self.rayserve) || self.backend == 'rayserve'",
                "rayserve is for backend: rayserve only: leave it out",
                ".rayserve",
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
        (), max_length=16, description="Ready, Progressing, PodsScheduled, ModelLoaded, Stopped."
    )
    replicas: int = Field(0, ge=0, description="Pods that exist.")
    ready_replicas: int = Field(0, ge=0, description="Pods that answer requests.")
    selector: str = Field(
        "", max_length=1024, description="Label selector of the pods, for the scale subresource."
    )
    url: str = Field(
        "",
        max_length=2048,
        description="Where to send requests: the route's address, or the cluster's own.",
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

    spec: DiffusionServiceSpec = Field(description="What is to be served, and how.")
    status: DiffusionServiceStatus | None = Field(None, description="What is there.")
