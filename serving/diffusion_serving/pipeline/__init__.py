"""The diffusers pipeline behind the engine. The one package that imports torch."""

from diffusion_serving.pipeline.loading import load_pipeline
from diffusion_serving.pipeline.model import DiffusersPipeline
from diffusion_serving.pipeline.schedulers import make_scheduler

__all__ = ["DiffusersPipeline", "load_pipeline", "make_scheduler"]
