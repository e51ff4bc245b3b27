"""Schedulers by name, made from a model's own, so that a step means the same for every model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.schedulers import scheduling_utils
from diffusers.utils import import_utils

from diffusion_serving.documents.serving_config import Scheduler
from diffusion_serving.observability.startup_errors import ModelLoadFailed

_utils: Any = scheduling_utils  # carries few annotations
DummyObject: Any = import_utils.DummyObject

_KARRAS: Mapping[str, object] = {
    "use_karras_sigmas": True,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
_DPM: Mapping[str, object] = {"algorithm_type": "dpmsolver++", "solver_order": 2}

_SCHEDULERS: Mapping[Scheduler, tuple[type[Any], Mapping[str, object]]] = {
    "ddim": (diffusers.DDIMScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler-karras": (diffusers.EulerDiscreteScheduler, _KARRAS),
    "euler-ancestral": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "dpm++2m": (diffusers.DPMSolverMultistepScheduler, _DPM),
    "dpm++2m-karras": (diffusers.DPMSolverMultistepScheduler, {**_DPM, **_KARRAS}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "lcm": (diffusers.LCMScheduler, {}),
}
"""The class of each name, and what the name pins; `own` has the model's class and pins nothing."""

_BETAS = frozenset({"beta_start", "beta_end", "beta_schedule"})
_NOISE = ("num_train_timesteps", *sorted(_BETAS), "trained_betas", "prediction_type")
"""Keys of the noise that a model was trained with. Each class has defaults of its own for them."""

_NEEDED = (
    *_NOISE,
    "rescale_betas_zero_snr",
    "sigma_data",
    "sigma_max",
    "sigma_min",
    "thresholding",
    "timestep_type",
    "use_flow_sigmas",
    "variance_type",
)
"""Keys that a scheduler has to take where they differ from their class's default."""

_NOT_BY_NAME = ("use_flow_sigmas", "variance_type")
"""Keys of another kind of model, which a class may take for its own sake."""

_VARIANCES = ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", None)
"""Variances that no model predicts: a choice of the sampler, whichever it is."""

_U_NETS = ("LCMScheduler", "TCDScheduler", "EDMDPMSolverMultistepScheduler")
"""Schedulers of U-Nets that `KarrasDiffusionSchedulers`, diffusers' own list, lacks."""

_LCM_TRAINING_STEPS = 50


def read_scheduler(folder: Path, listed: str) -> Any:
    """Reads a model's own scheduler.

    Args:
        folder: the directory of the scheduler's configuration.
        listed: the class that the model's index names.

    Raises:
        ModelLoadFailed: the configuration is not one of a scheduler for U-Nets.

    """
    file = folder / "scheduler_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadFailed(f"{file} cannot be read as JSON: {error}. Copy it again.") from None
    if not isinstance(config, dict):
        raise ModelLoadFailed(f"{file} is no JSON object. Copy it again.")
    name = str(config.get("_class_name", listed))
    if name != listed:
        raise ModelLoadFailed(
            f"{file} is of a {name}, and model_index.json names a {listed}. Name in both the class "
            "that the model was trained with."
        )
    if name not in _u_net_names():
        raise ModelLoadFailed(
            f"{file} is of a {name}, which is no scheduler of a U-Net. There are: "
            f"{', '.join(_u_net_names())}."
        )
    try:
        own = getattr(diffusers, name).from_config(config)
    except Exception as error:
        raise ModelLoadFailed(
            f"{file} cannot be used as a {name} ({type(error).__name__}: {error}). Check its "
            "values, and that the image has the libraries of that class."
        ) from error
    _require_known(file, own)
    return own


def make_scheduler(name: Scheduler, own: Any, steps: int) -> Any:
    """Returns the scheduler of that name for a model's own scheduler, which stays as it is.

    Each calls the U-Net exactly once per step, unlike PNDM, which SD 1.x models bring.
    A fresh one for each batch has no state of an earlier, perhaps failed, batch.
    """
    config = dict(own.config)
    kind, pinned = (type(own), {}) if name == "own" else _SCHEDULERS[name]
    settings = {key: config[key] for key in _NOISE if key in config} | dict(pinned)
    if "clip_sample" not in config:
        settings["clip_sample"] = False  # the classes' default is for pixels, not for latents
    # LCM and TCD pick their steps out of those they were distilled to, and refuse more.
    trained = int(config.get("original_inference_steps", _LCM_TRAINING_STEPS))
    settings["original_inference_steps"] = max(trained, steps)
    accepted = _keys(kind)
    return kind.from_config(
        config, **{key: value for key, value in settings.items() if key in accepted}
    )


def require_understood(name: Scheduler, own: Any, steps: int) -> None:
    """Requires that a scheduler follows all that a model's own says of its noise.

    Args:
        name: the scheduler of the service.
        own: the model's own.
        steps: the steps of a request that names none.

    Raises:
        ModelLoadFailed: it doesn't, or it is no scheduler of one U-Net call a step.

    """
    its = type(own).__name__
    if name != "own":
        _require_noise(name, own)
    try:
        made = make_scheduler(name, own, steps)
        made.set_timesteps(steps)
        latents = torch.zeros(1, 4, 2, 2)
        made.scale_model_input(latents, made.timesteps[0])
        made.step(latents, made.timesteps[0], latents)
    except Exception as error:
        raise ModelLoadFailed(
            f"The scheduler {name} can't make a step with the configuration of the model's own "
            f"{its} ({type(error).__name__}: {error}). Set generation.scheduler to another one."
        ) from error
    if made.order != 1 or len(made.timesteps) != steps:
        raise ModelLoadFailed(
            f"The model's own {its} calls the U-Net more often than once a step, which is not "
            f"served. Set generation.scheduler to one of {', '.join(_SCHEDULERS)}."
        )


def _require_noise(name: Scheduler, own: Any) -> None:
    """Requires that a scheduler by name takes each key of the noise that the model's own sets."""
    its, accepted = type(own), _keys(_SCHEDULERS[name][0])
    if not _keys(its) >= _BETAS:
        raise ModelLoadFailed(
            f"The model's own scheduler is an {its.__name__}, whose noise no scheduler {name} can "
            "follow. Set generation.scheduler to own."
        )
    defaults = its().config
    for key in _NEEDED:
        value = own.config.get(key)
        if value in (None, False, defaults.get(key)):
            continue
        if key == "variance_type" and value in _VARIANCES:
            continue
        if key not in accepted or key in _NOT_BY_NAME:
            raise ModelLoadFailed(
                f"The model's own {its.__name__} has {key} {value!r}, which the scheduler {name} "
                "doesn't follow. Set generation.scheduler to own."
            )


def _require_known(file: Path, own: Any) -> None:
    """Requires that diffusers knows each key, since it would leave out others in silence."""
    kinds = [getattr(diffusers, name) for name in _u_net_names()]
    # Placeholders stand for classes whose libraries are not installed.
    known = {key for kind in kinds if not isinstance(kind, DummyObject) for key in _keys(kind)}
    unknown = [key for key in own.config if not key.startswith("_") and key not in known]
    if unknown:
        raise ModelLoadFailed(
            f"{file} has {', '.join(sorted(unknown))}, which diffusers {diffusers.__version__} "
            "doesn't know. Take out what has no effect, or use an image with the version of "
            "diffusers that wrote it."
        )


def _u_net_names() -> list[str]:
    return sorted({*_U_NETS, *(one.name for one in _utils.KarrasDiffusionSchedulers)})


def _keys(kind: Any) -> set[str]:
    keys: set[str] = set(kind._get_init_keys(kind))  # noqa: SLF001 - as from_config itself does
    return keys - {"self", "kwargs"}
