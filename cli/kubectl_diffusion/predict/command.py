"""``kubectl diffusion predict``: an image from a DiffusionService."""

import base64
import binascii
import json
import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kubectl_diffusion.cluster.client import Cluster
from kubectl_diffusion.cluster.kinds import DIFFUSION_SERVICE
from kubectl_diffusion.cluster.transport import Answer, post
from kubectl_diffusion.terminal.errors import PluginError
from kubectl_diffusion.terminal.files import write

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
KEY_VARIABLE = "DIFFUSION_API_KEY"
_OK = 200

Object = dict[str, Any]
OnStep = Callable[[int, int], None]


def predict(options: Namespace, cluster: Cluster, console: Console) -> None:
    """Make the images that the options ask for and write them. Raises ``PluginError``."""
    body = request_of(options)
    service = cluster.resource(DIFFUSION_SERVICE, options.name)
    key = _key(options, cluster, service)
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream, application/json",
    }
    text = json.dumps(body).encode()
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[step]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{options.name} is drawing", total=None, step="")

        def on_step(step: int, steps: int) -> None:
            bar.update(task, completed=step, total=steps, step=f"step {step} of {steps}")

        with post(cluster, options.name, text, headers) as answer:
            made = read_answer(answer, on_step)
    for path, image in zip(
        paths(options.output, len(made["images"])), images_of(made), strict=True
    ):
        write(path, image)
        console.print(f"{path}: {made['width']} by {made['height']} pixels, seed {made['seed']}")


def request_of(options: Namespace) -> Object:
    """The body of /predict. Raises ``PluginError`` for a file name of no known format."""
    suffix = options.output.suffix.lower()
    if suffix not in FORMATS:
        raise PluginError(f"{options.output} must end in one of {', '.join(FORMATS)}")
    asked = {
        "prompt": options.prompt,
        "negative_prompt": options.negative_prompt,
        "steps": options.steps,
        "guidance_scale": options.guidance_scale,
        "width": options.width,
        "height": options.height,
        "seed": options.seed,
        "images": options.images,
        "format": FORMATS[suffix],
    }
    return {name: value for name, value in asked.items() if value is not None}


def _key(options: Namespace, cluster: Cluster, service: Object) -> str | None:
    """The API key: from a file, the environment, or the Secret that the service names."""
    if options.api_key_file is not None:
        try:
            return str(options.api_key_file.read_text().splitlines()[0].strip())
        except (OSError, IndexError) as error:
            raise PluginError(f"{options.api_key_file} holds no API key: {error}") from None
    if os.environ.get(KEY_VARIABLE):
        return os.environ[KEY_VARIABLE]
    reference = (service["spec"].get("auth") or {}).get("apiKeySecretRef")
    if reference is None:
        return None
    try:
        return cluster.secret(reference["name"], reference["key"])
    except PluginError as error:
        raise PluginError(
            f"the service wants an API key: give --api-key-file or set {KEY_VARIABLE} ({error})"
        ) from None


def read_answer(answer: Answer, on_step: OnStep) -> Object:
    """The JSON answer, whether it came at once or as events. Raises ``PluginError``."""
    kind = answer.headers.get("content-type", "")
    if answer.status != _OK:
        raise PluginError(_problem(answer.status, answer.read()))
    if not kind.startswith("text/event-stream"):
        return _parsed(answer.read())
    for name, data in events(answer.lines()):
        if name == "step":
            found = _parsed(data)
            on_step(int(found["step"]), int(found["steps"]))
        elif name == "images":
            return _parsed(data)
        elif name == "problem":
            raise PluginError(_problem(int(_parsed(data).get("status", 500)), data))
    raise PluginError("the service hung up before the image was done")


def events(lines: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Server-sent events: name and data of each."""
    name, data = "message", b""
    for line in lines:
        text = line.rstrip(b"\r\n")
        if not text:
            if data:
                yield name, data
            name, data = "message", b""
        elif text.startswith(b"event:"):
            name = text[6:].strip().decode()
        elif text.startswith(b"data:"):
            data += text[5:].strip()


def images_of(made: Object) -> list[bytes]:
    """The image files of an answer. Raises ``PluginError`` where one isn't whole."""
    try:
        return [base64.b64decode(image, validate=True) for image in made["images"]]
    except (binascii.Error, KeyError, TypeError):
        raise PluginError("the service's answer holds no images") from None


def paths(output: Path, count: int) -> list[Path]:
    """One path an image: the output itself, or numbered."""
    if count == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{number}") for number in range(1, count + 1)]


def _parsed(text: bytes) -> Object:
    try:
        found: Object = json.loads(text)
    except ValueError:
        raise PluginError("the service's answer is no JSON: is it a DiffusionService?") from None
    return found


def _problem(status: int, body: bytes) -> str:
    """What a problem document says, or a sentence where the answer is none."""
    try:
        found = json.loads(body)
    except ValueError:
        found = {}
    if not isinstance(found, dict):
        found = {}
    said = found.get("detail") or found.get("message") or found.get("title")
    if said:
        return f"the service answered {status}: {said}"
    return f"the service answered {status}: is it Ready? (kubectl get dsvc)"
