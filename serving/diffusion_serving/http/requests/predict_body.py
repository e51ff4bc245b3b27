"""The JSON bodies of `POST /predict`: its request and its response."""

from pydantic import BaseModel, ConfigDict, Field

from diffusion_serving.documents.serving_config import MAX_LORA_SCALE
from diffusion_serving.engine.image_request import MAX_SEED
from diffusion_serving.http.responses.image_encoding import Format
from diffusion_serving.http.responses.rendering import Timings


class LoraChoice(BaseModel):
    """A LoRA of this service and its strength."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(description="One of this service's LoRAs; /about lists them.")
    scale: float | None = Field(
        default=None,
        ge=0,
        le=MAX_LORA_SCALE,
        allow_inf_nan=False,
        description="0 is without it, 1 is as it was trained; the LoRA's own default if not given.",
    )


class PredictRequest(BaseModel):
    """Body of `POST /predict`. A field left out, or null, takes the service's default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: str = Field(min_length=1, description="The content of the image.")
    negative_prompt: str | None = Field(
        default=None, description="Content to avoid; no effect at a guidance of 1 or less."
    )
    steps: int | None = Field(default=None, ge=1, description="Denoising steps.")
    guidance_scale: float | None = Field(
        default=None,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Strength of the prompt; 1 or less turns guidance off.",
    )
    width: int | None = Field(default=None, description="Pixels, a multiple of 8.")
    height: int | None = Field(default=None, description="Pixels, a multiple of 8.")
    seed: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SEED,
        description="The same request with the same seed gives the same image; random if not "
        "given. Image i of a request uses seed + i.",
    )
    images: int | None = Field(default=None, ge=1, description="The number of images.")
    format: Format | None = Field(default=None, description="File format of the images.")
    lora: LoraChoice | None = Field(default=None, description="A LoRA to apply; none if not given.")


class PredictResponse(BaseModel):
    """Response of `POST /predict` as JSON."""

    model_config = ConfigDict(frozen=True)

    images: list[str] = Field(description="The image files, encoded as base64.")
    format: Format
    seed: int = Field(description="The seed of the first image.")
    width: int
    height: int
    steps: int
    timings_ms: Timings
    blocked: list[int] | None = Field(
        default=None,
        exclude_if=lambda places: places is None,
        description="The places of the images that the safety checker blocked, counted from 0: "
        "they are blurred. Left out where there are none.",
    )
