"""The facts of a loaded model, as /about shows them."""

from typing import Any

from diffusion_serving.documents.serving_config import Safety, ServingConfig
from diffusion_serving.engine import Startup
from diffusion_serving.engine.client import ModelInfo


def startup(seconds: Startup) -> dict[str, float]:
    """Returns the seconds of each part of the start."""
    return {
        "load_seconds": seconds.load_seconds,
        "warm_up_seconds": seconds.warm_up_seconds,
        "timing_seconds": seconds.timing_seconds,
    }


def scheduling(config: ServingConfig, model: ModelInfo | None) -> dict[str, Any]:
    """Returns the bound and the unit of work, and its timed seconds by images where it's a step."""
    curve = model.startup.curve if model else None
    steps = curve and [{"images": images, "seconds": seconds} for images, seconds in curve.points]
    return {
        "max_size": config.most_images,
        "scheduled": model.scheduled if model else None,
        "step_seconds": steps,
    }


def safety(model: ModelInfo | None, configured: Safety) -> dict[str, Any]:
    """Returns the checker in use, `None` for none, and what is done with a blocked picture."""
    return {"checker": (model.checker or "None") if model else None, "action": configured.action}


def bare(of: Startup, devices: int) -> list[dict[str, float]] | None:
    """Returns the timed calls of the pipeline alone, of all devices together; None if untimed."""
    calls = [{"images": size * devices, "seconds": seconds} for size, seconds in of.bare]
    return calls or None
