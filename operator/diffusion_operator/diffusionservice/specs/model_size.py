"""Model size: whether a model of known size can fit its GPU."""

from kubernetes.utils.quantity import parse_quantity

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec, Precision
from diffusion_operator.settings import Accelerator

GIB = 1024**3
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
# Driver and activations of one image take at least this much beside the weights.
_BESIDE_WEIGHTS = GIB
_SD1, _SD2, _SDXL = 1_066_000_000, 1_290_000_000, 3_469_000_000
# Parameters of U-Net, text encoders and VAE of models on the Hugging Face Hub, in lower case.
_PARAMETERS = {
    "compvis/stable-diffusion-v1-4": _SD1,
    "runwayml/stable-diffusion-v1-5": _SD1,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": _SD1,
    "stabilityai/stable-diffusion-2": _SD2,
    "stabilityai/stable-diffusion-2-1": _SD2,
    "stabilityai/stable-diffusion-2-1-base": _SD2,
    "stabilityai/sd-turbo": _SD2,
    "stabilityai/stable-diffusion-xl-base-1.0": _SDXL,
    "stabilityai/sdxl-turbo": _SDXL,
}


def stored_bytes(spec: DiffusionServiceSpec) -> int | None:
    """Bytes of the stored weights, or ``None`` for an unknown model.

    The fetcher prefers float32 files for every precision.
    """
    parameters = _parameters(spec)
    return None if parameters is None else parameters * _BYTES["float32"]


def misfit(
    spec: DiffusionServiceSpec, precision: Precision, accelerator: Accelerator | None
) -> str | None:
    """Warning for a model that can't fit its GPU, or ``None``."""
    parameters = _parameters(spec)
    if parameters is None or accelerator is None or accelerator.memory is None:
        return None
    needed = parameters * _BYTES[precision] + _BESIDE_WEIGHTS
    if needed <= parse_quantity(accelerator.memory):
        return None
    smaller = ", or precision: float16" if precision == "float32" else ""
    return (
        f"the model needs at least {needed / GIB:.1f} GiB in {precision}, and its GPU has "
        f"{accelerator.memory}: choose a larger gpu.type{smaller}"
    )


def _parameters(spec: DiffusionServiceSpec) -> int | None:
    scheme, _, name = spec.model.source.partition("://")
    return _PARAMETERS.get(name.lower()) if scheme == "hf" else None
