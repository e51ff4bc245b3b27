"""The serving configuration: the JSON document that the operator writes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

Backend = Literal["fastapi", "litserve", "rayserve"]
BatchingMode = Literal["engine", "framework", "none"]
Compile = Literal["none", "regional", "full"]
Topology = Literal["pods", "cluster"]
Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "float16", "bfloat16"]
Scheduler = Literal[
    "ddim",
    "euler",
    "euler-karras",
    "euler-ancestral",
    "dpm++2m",
    "dpm++2m-karras",
    "unipc",
    "lcm",
    "own",
]

MIN_SIDE = 64
MAX_SIDE = 8192
"""WebP cannot hold a side of 16384 pixels or more."""
SIDE_MULTIPLE = 8
"""The autoencoder of Stable Diffusion shrinks by this factor."""

MAX_STEPS = 500
"""Half of a model's 1000 timesteps: some schedulers fail close to all of them."""


MAX_BATCH = 64
USUAL_BATCH = 8
"""Images of a call where nobody sets a bound and no cost curve decides."""
MAX_LORA_SCALE = 4.0


def _lora_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise ValueError(
            f"{name[:80]!r} is no name: use at most 63 letters, digits, hyphens and underscores, "
            "the first a letter or digit"
        )
    return name


LoraName = Annotated[str, AfterValidator(_lora_name)]
"""A name without dots: peft uses it as a module's name."""


class _Document(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True
    )


class Lora(_Document):
    """A LoRA that a request may ask for by its name."""

    name: LoraName
    path: Path
    """A safetensors file, or the directory that holds it."""
    scale: float = Field(default=1.0, ge=0, le=MAX_LORA_SCALE, allow_inf_nan=False)
    """The strength where a request gives none."""


class ModelSource(_Document):
    path: Path
    """The directory that `from_pretrained` reads."""
    source: str | None = None
    """The model's source as the user wrote it; the path where no source is known."""
    revision: str | None = Field(default=None, max_length=255)
    """The branch, tag or commit of a hub's repository."""
    loras: tuple[Lora, ...] = Field(default=(), max_length=32)

    @field_validator("loras")
    @classmethod
    def _names_differ(cls, loras: tuple[Lora, ...]) -> tuple[Lora, ...]:
        names = [lora.name for lora in loras]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the name {twice[0]!r} is given twice: each LoRA needs its own")
        return loras


class GenerationDefaults(_Document):
    """Values of the fields that a request leaves out."""

    steps: int = Field(default=4, ge=1)
    guidance_scale: float = Field(default=7.5, ge=0, le=100, allow_inf_nan=False)
    width: int | None = Field(default=None, ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_MULTIPLE)
    """Pixels; None is the model's own size, as for the height."""
    height: int | None = Field(default=None, ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_MULTIPLE)
    scheduler: Scheduler = "ddim"


@dataclass(frozen=True)
class Defaults:
    """Defaults of a request, with the model's own size filled in."""

    steps: int
    guidance_scale: float
    width: int
    height: int

    @classmethod
    def of(cls, generation: GenerationDefaults, native_size: tuple[int, int]) -> "Defaults":
        return cls(
            steps=generation.steps,
            guidance_scale=generation.guidance_scale,
            width=generation.width or native_size[0],
            height=generation.height or native_size[1],
        )


class Limits(_Document):
    """The upper bounds of a request."""

    max_steps: int = Field(default=100, ge=1, le=1000)
    max_pixels: int = Field(default=1_048_576, ge=MIN_SIDE * MIN_SIDE, le=MAX_SIDE * MAX_SIDE)
    """Width times height of one image."""
    max_images_per_request: int = Field(default=4, ge=1, le=64)
    max_prompt_length: int = Field(default=1000, ge=1, le=20_000)
    """Characters, of the prompt and of the negative prompt each."""

    @property
    def steps(self) -> int:
        """The most steps of a request: `max_steps`, but never more than `MAX_STEPS`."""
        return min(self.max_steps, MAX_STEPS)


class Queue(_Document):
    max_length: PositiveInt = 64
    """Requests that may wait; running ones do not count."""
    timeout_seconds: PositiveFloat = Field(default=60.0, le=86_400, allow_inf_nan=False)
    """The longest that a request may wait before its batch starts."""


class Batching(_Document):
    mode: BatchingMode = "engine"
    """The batcher: this program's engine, the framework as it documents, or none."""
    max_size: int | None = Field(default=None, ge=1, le=MAX_BATCH)
    """The most images in one call or step; None leaves it to `ServingConfig.most_images`."""
    max_wait_milliseconds: int = Field(default=0, ge=0, le=60_000)
    """The longest that a batch which is not full may wait for more."""

    @property
    def usual_size(self) -> int:
        """The images of a call where no cost curve decides: `max_size`, or else `USUAL_BATCH`."""
        return self.max_size or USUAL_BATCH


class RayServe(_Document):
    """Settings of the backend rayserve alone."""

    topology: Topology = "pods"
    """The extent of a Ray cluster: each pod alone, or all pods together."""


class Auth(_Document):
    api_key_file: Path
    """A file in which each line that is not blank is a valid key."""


class ContentCredentials(_Document):
    """The certificate that signs every picture; both files are read again when they change."""

    certificate_file: Path
    """The chain in PEM, the signer's own certificate first."""
    private_key_file: Path
    """The private key in PEM, without a passphrase."""


class Provenance(_Document):
    """The marks of origin in every picture."""

    metadata: bool = True
    """Whether XMP metadata says that the picture is generated."""
    content_credentials: ContentCredentials | None = None
    """The certificate of a C2PA signature; None signs nothing."""


class CheckerSource(_Document):
    """A safety checker beside the model's own: a fetched image classifier, or such a checker."""

    path: Path
    source: str | None = None
    """The checker's source as the user wrote it; the path where no source is known."""


class Safety(_Document):
    """The check of every picture before it is given away."""

    checker: Literal["None", "Model"] | CheckerSource | None = None
    """`None` checks nothing, `Model` is the model's own; null: the model's own where it has one."""
    action: Literal["Refuse", "Blur"] = "Refuse"
    """The answer for a blocked picture: a problem, or the picture as a few patches of colour."""

    @property
    def choice(self) -> tuple[Literal["None", "Model"] | None, tuple[str, Path] | None]:
        """The choice without a source, and the source's name and directory."""
        if isinstance(self.checker, CheckerSource):
            return None, (self.checker.source or str(self.checker.path), self.checker.path)
        return self.checker, None


class ServingConfig(_Document):
    """Version 1 of the document that the operator writes and this program reads."""

    version: Literal[1] = 1
    backend: Backend = "fastapi"
    model: ModelSource
    device: Device = "cpu"
    precision: Precision = Field(
        default_factory=lambda data: "float16" if data.get("device") == "cuda" else "float32"
    )
    generation: GenerationDefaults = GenerationDefaults()
    limits: Limits = Limits()
    queue: Queue = Queue()
    devices: int = Field(default=1, ge=1, le=16)
    """Engines of this server, one on each GPU."""
    batching: Batching = Batching()
    compile: Compile = "none"
    attention: str = Field(default="default", pattern=r"^[a-z0-9_]{1,64}$")
    """Name of an attention backend of diffusers; `default` leaves the choice to it."""
    channels_last: bool = False
    rayserve: RayServe = RayServe()
    auth: Auth | None = None
    """The API keys' file; None lets every request in."""
    provenance: Provenance = Provenance()
    safety: Safety = Safety()

    @property
    def most_images(self) -> int:
        """The upper bound of the images in one call or step.

        Without `batching.max_size` the engine goes by the cost curve alone. But not on a CPU: a pod
        that needs more memory than its limit is killed, without an error that the engine could
        catch. And not with compilation, which takes minutes for each size.
        """
        batching = self.batching
        by_curve = batching.mode == "engine" and self.device == "cuda" and self.compile == "none"
        return MAX_BATCH if by_curve and batching.max_size is None else batching.usual_size

    @field_validator("attention")
    @classmethod
    def _runs_installed_code(cls, attention: str) -> str:
        if attention.endswith("_hub"):
            raise ValueError(
                f"{attention} downloads code and runs it, which is refused: use default, native, "
                "flash, xformers or another that is installed"
            )
        return attention

    @model_validator(mode="after")
    def _fits_together(self) -> "ServingConfig":
        generation, limits = self.generation, self.limits
        if self.device == "cpu" and self.precision == "float16":
            raise ValueError("float16 needs a GPU: use float32 or bfloat16 with device cpu")
        if self.device == "cpu" and self.devices > 1:
            raise ValueError(
                f"devices is {self.devices}, but a CPU is one device: write 1, or device cuda"
            )
        if self.backend == "fastapi" and self.batching.mode == "framework":
            raise ValueError(
                "batching.mode is framework, but FastAPI has no batching of its own: use engine, "
                "none, or the backend litserve or rayserve"
            )
        if generation.steps > limits.steps:
            raise ValueError(
                f"generation.steps is {generation.steps}, above limits.maxSteps {limits.steps}"
            )
        width, height = generation.width, generation.height
        if width and height and width * height > limits.max_pixels:
            raise ValueError(
                f"generation.width times height is {width * height}, "
                f"above limits.maxPixels {limits.max_pixels}"
            )
        return self
