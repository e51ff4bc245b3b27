"""The part of the one lock that the stand-in's image installs: ``python3 slice.py LOCK > PART``."""

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
    "uvicorn",
    "tqdm",  # is kept from starting a thread
)

packages = parse_lock(Path(sys.argv[1]).read_text())
sys.stdout.writelines(packages[name].pins for name in sorted(closure(packages, PACKAGES)))
