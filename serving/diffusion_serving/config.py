"""The serving configuration: a JSON document, the command line and the environment."""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from diffusion_serving.observability.startup_errors import InvalidConfiguration

Backend = Literal["fastapi", "litserve", "rayserve"]
BatchingMode = Literal["engine", "framework", "none"]
Compile = Literal["none", "regional", "full"]
Topology = Literal["pods", "cluster"]
Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "float16", "bfloat16"]
Scheduler = Literal["ddim", "euler", "dpm++2m", "unipc", "lcm"]

MIN_SIDE = 64
MAX_SIDE = 8192
"""WebP cannot hold a side of 16384 pixels or more."""
SIDE_MULTIPLE = 8
"""The autoencoder of Stable Diffusion shrinks by this factor."""

MAX_STEPS = 500
"""Half of a model's 1000 timesteps: some schedulers fail close to all of them."""


MAX_BATCH = 64
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
    max_size: int = Field(default=8, ge=1, le=MAX_BATCH)
    """Images in one call of the pipeline; 1 is the same as the mode `none`."""
    max_wait_milliseconds: int = Field(default=0, ge=0, le=60_000)
    """The longest that a batch which is not full may wait for more."""


class RayServe(_Document):
    """Settings of the backend rayserve alone."""

    topology: Topology = "pods"
    """The extent of a Ray cluster: each pod alone, or all pods together."""


class Auth(_Document):
    api_key_file: Path
    """A file in which each line that is not blank is a valid key."""


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


@dataclass(frozen=True)
class Settings:
    """The configuration, and the settings of this process alone."""

    config: ServingConfig
    host: str = "0.0.0.0"  # noqa: S104 - a container serves its pod's address
    port: int = 8000
    service: str = ""
    """The DiffusionService's name, empty where there is none."""
    revision: str = ""
    """The revision of that service that this process serves."""
    drain_seconds: float = 1.0
    """Seconds after SIGTERM in which new requests are still answered, with `Connection: close`, so
    that clients which keep connections open go elsewhere before the listener closes."""


def read_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Reads the settings from a command line (without the program's name) and an environment.

    The document comes from `--config FILE`, else from DIFFUSION_SERVING_CONFIG, else from the
    flags alone; a flag wins over the document.

    Raises:
        InvalidConfiguration: the message names the field and a valid value.

    """
    flags = _parser().parse_args(argv)
    document = _with_flags(_document(flags.config, environ), flags)
    if "model" not in document:
        raise InvalidConfiguration(
            "No model is named: pass --model DIR, --config FILE, or set DIFFUSION_SERVING_CONFIG."
        )
    try:
        config = ServingConfig.model_validate(document)
    except ValidationError as error:
        raise InvalidConfiguration(
            f"The serving configuration is wrong: {_sentence(error)}."
        ) from None
    return Settings(
        config=config,
        host=flags.host,
        port=flags.port,
        service=environ.get("DIFFUSION_SERVICE", ""),
        revision=environ.get("DIFFUSION_REVISION", ""),
        drain_seconds=_seconds(environ, "DIFFUSION_DRAIN_SECONDS", Settings.drain_seconds),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffusion_serving", description="Serves one Stable Diffusion model."
    )
    parser.add_argument(
        "--config", type=Path, help="JSON document; DIFFUSION_SERVING_CONFIG may hold it as well"
    )
    parser.add_argument("--backend", help="fastapi (the default), litserve or rayserve")
    parser.add_argument("--model", help="directory of a diffusers Stable Diffusion pipeline")
    parser.add_argument(
        "--lora",
        action="append",
        metavar="NAME=PATH",
        help="a LoRA that requests may name; can be repeated",
    )
    parser.add_argument("--host", default=Settings.host, help="address to listen on")
    parser.add_argument("--port", type=int, default=Settings.port, help="default 8000")
    parser.add_argument("--device", help="cpu (the default) or cuda")
    parser.add_argument("--devices", help="engines, one on each GPU; default 1")
    parser.add_argument("--precision", help="float32, float16 (needs a GPU) or bfloat16")
    parser.add_argument("--batching", help="engine (the default), framework or none")
    parser.add_argument("--max-batch", help="images in one call of the pipeline; default 8")
    parser.add_argument("--max-wait", help="milliseconds a batch waits for more; default 0")
    parser.add_argument("--compile", help="none (the default), regional or full")
    parser.add_argument("--attention", help="an attention backend of diffusers, by its name")
    parser.add_argument("--channels-last", action="store_const", const=True, help="memory format")
    parser.add_argument("--api-key-file", help="a key a line; without it, every request is let in")
    return parser


_FLAG_FIELDS: Mapping[str, tuple[str, ...]] = {
    "backend": ("backend",),
    "device": ("device",),
    "devices": ("devices",),
    "precision": ("precision",),
    "batching": ("batching", "mode"),
    "max_batch": ("batching", "maxSize"),
    "max_wait": ("batching", "maxWaitMilliseconds"),
    "compile": ("compile",),
    "attention": ("attention",),
    "channels_last": ("channelsLast",),
    "api_key_file": ("auth", "apiKeyFile"),
}
"""The place in the document of each flag's value."""


def _with_flags(document: dict[str, Any], flags: argparse.Namespace) -> dict[str, Any]:
    """Merges the given flags into the document."""
    merged = dict(document)
    if flags.model is not None:
        merged["model"] = {"path": flags.model}
    if flags.lora is not None:
        loras = [_lora(text) for text in flags.lora]
        merged["model"] = {**_object(merged, "model"), "loras": loras}
    for flag, (*parents, name) in _FLAG_FIELDS.items():
        if (value := getattr(flags, flag)) is None:
            continue
        if parents:
            (parent,) = parents
            merged[parent] = {**_object(merged, parent), name: value}
        else:
            merged[name] = value
    return merged


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the object of the document that a flag adds to; empty if there is none."""
    value = document.get(name)
    return dict(value) if isinstance(value, dict) else {}


def _lora(text: str) -> dict[str, str]:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise InvalidConfiguration(f"--lora is {text!r}: write NAME=PATH.")
    return {"name": name, "path": path}


def _document(file: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        if file is not None:
            text, origin = file.read_text(encoding="utf-8"), str(file)
        else:
            text, origin = environ.get("DIFFUSION_SERVING_CONFIG", ""), "DIFFUSION_SERVING_CONFIG"
        document = json.loads(text) if text.strip() else {}
    except OSError as error:
        raise InvalidConfiguration(f"Cannot read {file}: {error.strerror}.") from None
    except ValueError as error:
        raise InvalidConfiguration(f"{origin} is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise InvalidConfiguration(f"{origin} is not a JSON object.")
    return document


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:  # noqa: PLR2004 - an hour is longer than any pod is given
        raise InvalidConfiguration(f"{name} must be between 0 and 3600 seconds; it is {text!r}.")
    return seconds


def _sentence(error: ValidationError) -> str:
    """Joins the failures to one sentence: `limits.maxSteps: input should be …; …`."""
    parts = []
    for failure in error.errors():
        if failure["type"] == "default_factory_not_called":
            continue  # a default, which follows from the field at fault
        where = ".".join(str(part) for part in failure["loc"])
        message = failure["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {message[0].lower()}{message[1:]}" if where else message)
    return "; ".join(parts)
