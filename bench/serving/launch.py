"""The serving program with the stand-in: ``python -m serving.launch SECONDS --backend …``."""

import os
import sys
from functools import partial
from importlib import import_module

from diffusion_serving.observability import logs
from diffusion_serving.settings import read_settings
from serving.stand_in import load


def main() -> int:
    logs.configure()
    settings = read_settings([*sys.argv[2:], "--model", "/stand-in"], os.environ)
    backend = import_module(f"diffusion_serving.backends.{settings.config.backend}")
    return int(backend.serve(settings, partial(load, float(sys.argv[1]))))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # as the serving program does
