"""The settings of a process: the configuration from a file, the environment and flags."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.observability.startup_errors import InvalidConfiguration

_MOST_PORT = 65_535
_MOST_SECONDS = 100_000
"""More than the longest that a request may wait, with all that follows."""


@dataclass(frozen=True)
class Settings:
    """The configuration, and the settings of this process alone."""

    config: ServingConfig
    host: str = ""
    """The address to listen on; empty is every one, of IPv4 and IPv6."""
    port: int = 8000
    service: str = ""
    """The DiffusionService's name, empty where there is none."""
    revision: str = ""
    """The revision of that service that this process serves."""
    silence_seconds: float = 20.0
    """Seconds without an answer of an engine's process after which the server ends, to restart."""
    drain_seconds: float = 1.0
    """Seconds without a new request after which the listener closes, once SIGTERM came. Until then
    each answer has `Connection: close`, so that clients which keep connections go elsewhere."""
    drain_limit_seconds: float = 30.0
    """Seconds after SIGTERM by which the listener closes in any case."""
    grace_seconds: float | None = None
    """Seconds after SIGTERM by which each request is answered, because a kill follows: requests
    that aren't done by then are refused. None waits for all of them."""


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
        silence_seconds=_seconds(
            environ, "DIFFUSION_SILENCE_SECONDS", Settings.silence_seconds, least=1.0
        ),
        drain_seconds=_seconds(environ, "DIFFUSION_DRAIN_SECONDS", Settings.drain_seconds),
        drain_limit_seconds=_seconds(
            environ, "DIFFUSION_DRAIN_LIMIT_SECONDS", Settings.drain_limit_seconds
        ),
        grace_seconds=_seconds(environ, "DIFFUSION_GRACE_SECONDS", 0.0) or None,
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
    parser.add_argument("--host", default=Settings.host, help="address to listen on; default all")
    parser.add_argument("--port", type=_port, default=Settings.port, help="default 8000")
    parser.add_argument("--device", help="cpu (the default) or cuda")
    parser.add_argument("--devices", help="engines, one on each GPU; default 1")
    parser.add_argument("--precision", help="float32, float16 (needs a GPU) or bfloat16")
    parser.add_argument("--batching", help="engine (the default), framework or none")
    parser.add_argument("--max-batch", help="images in one call or step; default by the costs")
    parser.add_argument("--max-wait", help="milliseconds a batch waits for more; default 0")
    parser.add_argument("--compile", help="none (the default), regional or full")
    parser.add_argument("--attention", help="an attention backend of diffusers, by its name")
    parser.add_argument("--channels-last", action="store_const", const=True, help="memory format")
    parser.add_argument(
        "--safety-checker",
        metavar="None|Model|DIR",
        help="checks each image: a directory of an image classifier, Model for the model's own "
        "checker, or None; by default the model's own where it has one",
    )
    parser.add_argument(
        "--safety-action", help="for a blocked image: Refuse (the default) its request, or Blur it"
    )
    parser.add_argument("--api-key-file", help="a key a line; without it, every request is let in")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write 1 to {_MOST_PORT}")
    return int(text)


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
    "safety_checker": ("safety", "checker"),
    "safety_action": ("safety", "action"),
}
"""The place in the document of each flag's value."""


def _with_flags(document: dict[str, Any], flags: argparse.Namespace) -> dict[str, Any]:
    """Merges the given flags into the document."""
    merged = dict(document)
    if flags.model is not None:
        # Source and revision would describe another model; the LoRAs are those to serve with it.
        kept = {k: v for k, v in _object(merged, "model").items() if k == "loras"}
        merged["model"] = {**kept, "path": flags.model}
    if flags.lora is not None:
        loras = [_lora(text) for text in flags.lora]
        merged["model"] = {**_object(merged, "model"), "loras": loras}
    if flags.safety_checker not in (None, "None", "Model"):
        flags.safety_checker = {"path": flags.safety_checker}
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


def _seconds(environ: Mapping[str, str], name: str, default: float, least: float = 0.0) -> float:
    text = environ.get(name, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= _MOST_SECONDS:
        raise InvalidConfiguration(
            f"{name} must be between {least:g} and {_MOST_SECONDS} seconds; it is {text!r}."
        )
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
