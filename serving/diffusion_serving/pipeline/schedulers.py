"""Schedulers pinned by name, so that a step means the same for every model."""

from collections.abc import Mapping
from typing import Any

import diffusers

from diffusion_serving.config import Scheduler

_SCHEDULERS: Mapping[Scheduler, tuple[type[Any], Mapping[str, object]]] = {
    "ddim": (diffusers.DDIMScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "dpm++2m": (
        diffusers.DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2},
    ),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {}),
}

_LCM_TRAINING_STEPS = 50


def make_scheduler(name: Scheduler, config: Mapping[str, Any], steps: int) -> Any:
    """Returns the scheduler of that name for a model's own scheduler configuration.

    Each scheduler calls the U-Net exactly once per step, unlike PNDM, which SD 1.x models bring.
    A fresh one for each batch has no state of an earlier, perhaps failed, batch.
    """
    kind, pinned = _SCHEDULERS[name]
    settings = dict(pinned)
    if "clip_sample" not in config:
        settings["clip_sample"] = False  # the classes' default is for pixels, not for latents
    if name == "lcm":
        # LCM picks its steps out of those it was distilled to, and refuses more than there are.
        trained = int(config.get("original_inference_steps", _LCM_TRAINING_STEPS))
        settings["original_inference_steps"] = max(trained, steps)
    accepted = set(kind._get_init_keys(kind))  # noqa: SLF001 - as from_config itself does
    return kind.from_config(
        dict(config), **{key: value for key, value in settings.items() if key in accepted}
    )
