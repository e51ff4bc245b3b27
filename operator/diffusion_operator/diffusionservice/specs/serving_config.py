"""Serving configuration: the document for the pods, built from the spec."""

from typing import Literal

from diffusion_operator.api.diffusionservice import Batching, DiffusionServiceSpec, Precision
from diffusion_operator.api.fields import seconds
from diffusion_operator.api.provenance import Provenance
from diffusion_operator.api.safety import Safety
from diffusion_operator.diffusionservice.specs.model_sources import path_of
from diffusion_operator.documents.serving_config import (
    QueueLimits,
    RequestDefaults,
    RequestLimits,
    ServedAuth,
    ServedBatching,
    ServedChecker,
    ServedContentCredentials,
    ServedLora,
    ServedModel,
    ServedProvenance,
    ServedRay,
    ServedSafety,
    ServingConfig,
)
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.settings import Accelerator

USUAL_BATCH = 8
"""Images of one call where neither the spec nor a cost curve sets a bound."""
API_KEY_MOUNT = "/etc/diffusion/auth"
API_KEY_FILE = "key"
CREDENTIALS_MOUNT = "/etc/diffusion/credentials"
CERTIFICATE_KEY = "tls.crt"
PRIVATE_KEY_KEY = "tls.key"


def device_of(accelerator: Accelerator | None) -> Literal["cuda", "cpu"]:
    """Torch device; a stand-in accelerator computes on the CPU."""
    return accelerator.device if accelerator else "cpu"


def precision_of(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> Precision:
    """Precision of the served model.

    Raises:
        SpecError: The device doesn't support the precision.
    """
    device = device_of(accelerator)
    precision = spec.precision or ("float16" if device == "cuda" else "float32")
    if precision == "float16" and device == "cpu":
        raise SpecError(
            "PrecisionUnsupported",
            f"gpu.type {spec.gpu.type if spec.gpu else ''!r} computes on the CPU, which has no "
            "float16: write precision: float32 or bfloat16",
        )
    return precision


def devices_of(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> int:
    """Number of engines in one pod: one per GPU, or one on a CPU."""
    return spec.gpu.count if spec.gpu and device_of(accelerator) == "cuda" else 1


def _model(spec: DiffusionServiceSpec) -> ServedModel:
    model = spec.model
    loras = tuple(
        ServedLora(name=lora.name, path=path_of(spec, lora.source), scale=float(lora.scale))
        for lora in model.loras
    )
    return ServedModel(
        path=path_of(spec, model.source, model.revision),
        source=model.source,
        revision=model.revision,
        loras=loras or None,
    )


def _provenance(provenance: Provenance) -> ServedProvenance | None:
    """Marks of the pictures; None where they are the server's defaults."""
    if provenance == Provenance():
        return None
    credentials = ServedContentCredentials(
        certificate_file=f"{CREDENTIALS_MOUNT}/{CERTIFICATE_KEY}",
        private_key_file=f"{CREDENTIALS_MOUNT}/{PRIVATE_KEY_KEY}",
    )
    return ServedProvenance(
        metadata=provenance.metadata,
        content_credentials=credentials if provenance.content_credentials else None,
    )


def _batching(batching: Batching) -> ServedBatching:
    """Batching, whose bound the engine's cost curve may decide, but no framework's batching."""
    served = ServedBatching(**batching.model_dump())
    if batching.mode == "engine" or batching.max_size is not None:
        return served
    return served.model_copy(update={"max_size": USUAL_BATCH})


def _safety(spec: DiffusionServiceSpec) -> ServedSafety | None:
    """Check of the pictures; None where it is the server's default."""
    safety = spec.safety
    if safety == Safety():
        return None
    if (source := safety.source) is None:
        return ServedSafety(checker=safety.checker, action=safety.action)
    checker = ServedChecker(path=path_of(spec, source), source=source)
    return ServedSafety(checker=checker, action=safety.action)


def serving_config(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> ServingConfig:
    """Serving configuration document.

    Raises:
        SpecError: The spec can't be built.
    """
    devices = devices_of(spec, accelerator)
    return ServingConfig(
        backend=spec.backend,
        model=_model(spec),
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
        batching=_batching(spec.batching) if spec.batching != Batching() else None,
        compile=spec.compile if spec.compile != "none" else None,
        rayserve=ServedRay(topology=spec.rayserve.topology) if spec.rayserve else None,
        auth=ServedAuth(api_key_file=f"{API_KEY_MOUNT}/{API_KEY_FILE}") if spec.auth else None,
        provenance=_provenance(spec.provenance),
        safety=_safety(spec),
    )
