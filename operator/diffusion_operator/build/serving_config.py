"""The serving configuration that a spec amounts to."""

from typing import Literal

from diffusion_operator.api.diffusionservice import (
    Batching,
    DiffusionServiceSpec,
    ModelSource,
    Precision,
)
from diffusion_operator.api.fields import seconds
from diffusion_operator.build import BuildError
from diffusion_operator.build.sources import path_of
from diffusion_operator.documents.serving_config import (
    QueueLimits,
    RequestDefaults,
    RequestLimits,
    ServedAuth,
    ServedBatching,
    ServedLora,
    ServedModel,
    ServedRay,
    ServingConfig,
)
from diffusion_operator.settings import Accelerator

API_KEY_MOUNT = "/etc/diffusion/auth"
API_KEY_FILE = "key"


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


def devices_of(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> int:
    """Engines in one pod: one a GPU; a CPU is one device, whatever stands in for GPUs."""
    return spec.gpu.count if spec.gpu and device_of(accelerator) == "cuda" else 1


def _model(model: ModelSource) -> ServedModel:
    loras = tuple(
        ServedLora(name=lora.name, path=path_of(model, lora.source), scale=float(lora.scale))
        for lora in model.loras
    )
    return ServedModel(
        path=path_of(model, model.source, model.revision),
        source=model.source,
        revision=model.revision,
        loras=loras or None,
    )


def serving_config(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> ServingConfig:
    """The document for the pods. Raises ``BuildError``."""
    devices = devices_of(spec, accelerator)
    batching = ServedBatching(**spec.batching.model_dump())
    return ServingConfig(
        backend=spec.backend,
        model=_model(spec.model),
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
        devices=devices if devices > 1 else None,
        batching=batching if spec.batching != Batching() else None,
        compile=spec.compile if spec.compile != "none" else None,
        rayserve=ServedRay(topology=spec.rayserve.topology) if spec.rayserve else None,
        auth=ServedAuth(api_key_file=f"{API_KEY_MOUNT}/{API_KEY_FILE}") if spec.auth else None,
    )
