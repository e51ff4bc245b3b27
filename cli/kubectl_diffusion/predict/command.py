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
from kubectl_diffusion.cluster.transport import Response, post
from kubectl_diffusion.terminal.errors import PluginError
from kubectl_diffusion.terminal.files import check_folder, write

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
KEY_VARIABLE = "DIFFUSION_API_KEY"
_OK = 200
_SEEDS = 2**32
"""The number of seeds that a service knows."""

Object = dict[str, Any]
OnStep = Callable[[int, int], None]


def predict(options: Namespace, cluster: Cluster, console: Console) -> None:
    """Generates images by the options and writes them. Raises ``PluginError``."""
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
        task = bar.add_task(f"{options.name} is generating", total=None, step="")

        def on_step(step: int, steps: int) -> None:
            bar.update(task, completed=step, total=steps, step=f"step {step} of {steps}")

        with post(cluster, options.name, text, headers) as response:
            result = read_response(response, on_step)
    images = images_of(result)
    targets = paths(options.output, len(images))
    for path, image, seed in zip(targets, images, seeds(result), strict=True):
        write(path, image)
        console.print(f"{path}: {result['width']} by {result['height']} pixels, seed {seed}")


def request_of(options: Namespace) -> Object:
    """The body of /predict. Raises ``PluginError`` where the output can't be written."""
    suffix = options.output.suffix.lower()
    if suffix not in FORMATS:
        raise PluginError(f"{options.output} must end in one of {', '.join(FORMATS)}")
    check_folder(options.output)
    fields = {
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
    return {name: value for name, value in fields.items() if value is not None}


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
            f"the service requires an API key: give --api-key-file or set {KEY_VARIABLE} ({error})"
        ) from None


def read_response(response: Response, on_step: OnStep) -> Object:
    """The JSON result, from one document or from events. Raises ``PluginError``."""
    kind = response.headers.get("content-type", "")
    if response.status != _OK:
        raise PluginError(_problem(response.status, response.read()))
    if not kind.startswith("text/event-stream"):
        return _parsed(response.read())
    for name, data in events(response.lines()):
        if name == "step":
            progress = _parsed(data)
            on_step(int(progress["step"]), int(progress["steps"]))
        elif name == "images":
            return _parsed(data)
        elif name == "problem":
            raise PluginError(_problem(int(_parsed(data).get("status", 500)), data))
    raise PluginError("the service closed the connection before the image was complete")


def events(lines: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yields the name and the data of each server-sent event."""
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


def images_of(result: Object) -> list[bytes]:
    """The image files of a result. Raises ``PluginError`` for an incomplete one."""
    try:
        return [base64.b64decode(image, validate=True) for image in result["images"]]
    except (binascii.Error, KeyError, TypeError):
        raise PluginError("the service's response holds no images") from None


def seeds(result: Object) -> list[int]:
    """The seed of each image: the service counts up from the first one, and starts again at 0."""
    return [(int(result["seed"]) + place) % _SEEDS for place in range(len(result["images"]))]


def paths(output: Path, count: int) -> list[Path]:
    """The path of each image: the output itself, or numbered files."""
    if count == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{number}") for number in range(1, count + 1)]


def _parsed(text: bytes) -> Object:
    try:
        document: Object = json.loads(text)
    except ValueError:
        raise PluginError("the response is not JSON: is the service a DiffusionService?") from None
    return document


def _problem(status: int, body: bytes) -> str:
    """The detail of a problem document, or a sentence for another response."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    detail = problem.get("detail") or problem.get("message") or problem.get("title")
    if detail:
        return f"the service returned {status}: {detail}"
    return f"the service returned {status}: is it Ready? (kubectl get dsvc)"
