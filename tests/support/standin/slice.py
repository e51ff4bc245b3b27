"""Prints the stand-in image's part of the lock: ``python3 slice.py LOCK > PART``."""

import sys
from pathlib import Path

from image_build.locks import closure, parse_lock

PACKAGES = (
    "pydantic",
    "prometheus-client",
    "pillow",
    "safetensors",  # reads the headers of weights, with numpy
    "numpy",
    "fastapi",
    "fastapi-swagger",  # the files of /docs
    "uvicorn",
    "tqdm",  # the program stops it from starting a thread
)

packages = parse_lock(Path(sys.argv[1]).read_text())
sys.stdout.writelines(packages[name].pins for name in sorted(closure(packages, PACKAGES)))
