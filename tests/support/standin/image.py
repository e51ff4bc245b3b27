"""Builds the stand-in's image like the product's, with the options of ``images/build.py``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images"))

from build import main
from image_build.inputs import Image

_FOLDER = "tests/support/standin"
IMAGE = Image(
    "standin",
    "diffusion-standin",
    (
        "serving/diffusion_serving",
        "images/demo_model/weights",
        f"{_FOLDER}/pipeline",
        f"{_FOLDER}/slice.py",
        "images/image_build/locks.py",
        "requirements.lock",
    ),
    f"{_FOLDER}/Dockerfile",
)

if __name__ == "__main__":
    sys.exit(main((IMAGE,)))
