"""The serving configuration that a spec amounts to."""

from typing import Literal

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec, Precision
from diffusion_operator.api.fields import seconds
from diffusion_operator.build import BuildError
from diffusion_operator.documents.serving_config import (
    QueueLimits,
    RequestDefaults,
    RequestLimits,
    ServedModel,
    ServingConfig,
)
from diffusion_operator.settings import Accelerator

CLAIM_MOUNT = "/models/claim"


def model_path(source: str) -> str:
    """Where the model lies inside the pod."""
    scheme, _, rest = source.partition("://")
    if scheme == "pvc":
        _, _, inner = rest.partition("/")
        return f"{CLAIM_MOUNT}/{inner}".rstrip("/")
    return rest


def model_claim(source: str) -> str | None:
    """The PersistentVolumeClaim that the model lies on, if it does."""
    scheme, _, rest = source.partition("://")
    return rest.partition("/")[0] if scheme == "pvc" else None


def device_of(accelerator: Accelerator | None) -> Literal["cuda", "cpu"]:
    """The torch device; a stand-in for a GPU is placed like one, and computes on the CPU."""
    return accelerator.device if accelerator else "cpu"


def precision_of(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> Precision:
    """The precision that is served. Raises ``BuildError`` for one that the device can't do."""
    device = device_of(accelerator)
    precision = spec.precision or ("float16" if device == "cuda" else "float32")
    if precision == "float16" and device == "cpu":
        raise BuildError(
            "PrecisionUnsupported",
            f"gpu.type {spec.gpu.type if spec.gpu else ''!r} computes on the CPU, which has no "
            "float16: write precision: float32 or bfloat16",
        )
    return precision


def serving_config(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> ServingConfig:
    """The document for the pods. Raises ``BuildError``."""
    return ServingConfig(
        backend=spec.backend,
        model=ServedModel(path=model_path(spec.model.source), source=spec.model.source),
        device=device_of(accelerator),
        precision=precision_of(spec, accelerator),
        generation=RequestDefaults(
            steps=spec.generation.steps,
            guidance_scale=float(spec.generation.guidance_scale),
            width=spec.generation.width,
            height=spec.generation.height,
            scheduler=spec.generation.scheduler,
        ),
        limits=RequestLimits(**spec.limits.model_dump()),
        queue=QueueLimits(
            max_length=spec.queue.max_length, timeout_seconds=seconds(spec.queue.timeout)
        ),
    )
