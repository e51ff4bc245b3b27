"""Serving configuration, version 1: the operator writes it, the serving program reads it.

``diffusion_serving.documents.serving_config`` is the other side.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import Field

from diffusion_operator.api.fields import Model

T = TypeVar("T")

Optional = Annotated[T | None, Field(exclude_if=lambda value: value is None)]
"""Field that is left out while unset: a new field must not change existing documents, because a
changed document restarts pods.
"""


class ServedLora(Model):
    name: str
    path: str
    scale: float


class ServedModel(Model):
    path: str
    source: str
    revision: Optional[str] = None
    loras: Optional[tuple[ServedLora, ...]] = None


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


class ServedBatching(Model):
    mode: str
    max_size: Optional[int] = None
    max_wait_milliseconds: int


class ServedRay(Model):
    topology: str


class ServedAuth(Model):
    api_key_file: str


class ServedContentCredentials(Model):
    certificate_file: str
    private_key_file: str


class ServedProvenance(Model):
    metadata: bool
    content_credentials: Optional[ServedContentCredentials] = None


class ServedChecker(Model):
    path: str
    source: str


class ServedSafety(Model):
    checker: Optional[str | ServedChecker] = None
    action: str


class ServingConfig(Model):
    version: Literal[1] = 1
    backend: str
    model: ServedModel
    device: Literal["cuda", "cpu"]
    precision: str
    generation: RequestDefaults
    limits: RequestLimits
    queue: QueueLimits
    devices: Optional[int] = None
    batching: Optional[ServedBatching] = None
    compile: Optional[str] = None
    rayserve: Optional[ServedRay] = None
    auth: Optional[ServedAuth] = None
    provenance: Optional[ServedProvenance] = None
    safety: Optional[ServedSafety] = None
