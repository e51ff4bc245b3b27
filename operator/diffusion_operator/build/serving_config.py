"""The serving configuration that a spec amounts to."""

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import seconds
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


def serving_config(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> ServingConfig:
    return ServingConfig(
        backend=spec.backend,
        model=ServedModel(path=model_path(spec.model.source), source=spec.model.source),
        device=accelerator.device if accelerator else "cpu",
        precision=spec.effective_precision,
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
