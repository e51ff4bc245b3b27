"""What the operator tells a serving pod, version 1; its reader is ``diffusion_serving.config``."""

from typing import Literal

from diffusion_operator.api.fields import Model


class ServedModel(Model):
    path: str
    source: str


class RequestDefaults(Model):
    steps: int
    guidance_scale: float
    width: int | None
    height: int | None
    scheduler: str


class RequestLimits(Model):
    max_steps: int
    max_pixels: int
    max_images_per_request: int
    max_prompt_length: int


class QueueLimits(Model):
    max_length: int
    timeout_seconds: float


class ServingConfig(Model):
    version: Literal[1] = 1
    backend: str
    model: ServedModel
    device: Literal["cuda", "cpu"]
    precision: str
    generation: RequestDefaults
    limits: RequestLimits
    queue: QueueLimits
