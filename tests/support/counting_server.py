"""The serving program that also counts the U-Net's calls, one byte in a file for each.

`python -m counting_server FILE …`; the other arguments are those of `python -m diffusion_serving`.
"""

import os
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.engine_process.startup import load_model
from diffusion_serving.observability import logs
from diffusion_serving.settings import read_settings


def load(counter: Path, config: ServingConfig, device_index: int) -> Pipeline:
    """A `startup.Load`, once its first argument is bound; worker processes can import it."""
    pipeline: Any = load_model(config, device_index)
    pipeline._pipe.unet.register_forward_hook(partial(_count, counter))
    loaded: Pipeline = pipeline
    return loaded


def _count(counter: Path, *_: Any) -> None:
    with counter.open("ab") as file:
        file.write(b".")


def main() -> int:
    logs.configure()
    settings = read_settings(sys.argv[2:], os.environ)
    backend = import_module(f"diffusion_serving.backends.{settings.config.backend}")
    return int(backend.serve(settings, partial(load, Path(sys.argv[1]))))


if __name__ == "__main__":
    # Other processes import the module by its name: they can't import from `__main__`.
    code = import_module("counting_server").main()
    sys.stdout.flush()
    os._exit(code)
