"""Real, tiny Stable Diffusion models with random weights, made once.

Another process makes them, so that a test whose server has the model needs no torch itself.
"""

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from kept import kept

_MAKING = Path(__file__).with_name("making.py")
_MADE_WITH = ("torch", "diffusers", "transformers", "peft")


@dataclass(frozen=True)
class TinyModels:
    """Directories of models as ``save_pretrained`` writes them, of 64 by 64 pixels."""

    folder: Path

    @property
    def sd(self) -> Path:
        """A model of Stable Diffusion 1.x."""
        return self.folder / "sd"

    @property
    def xl(self) -> Path:
        """A model of SDXL, with its two text encoders."""
        return self.folder / "xl"

    @property
    def loras(self) -> dict[str, Path]:
        """LoRAs for ``sd``: ``unet`` changes its U-Net alone, ``text`` its text encoder as well."""
        return {name: self.folder / "loras" / name for name in ("unet", "text")}

    @property
    def checked(self) -> Path:
        """The model of ``sd`` with a safety checker of its own, which blocks red pictures."""
        return self.folder / "checked"

    @property
    def classifier(self) -> Path:
        """An image classifier that finds red pictures unsafe."""
        return self.folder / "classifier"


@cache
def tiny_models() -> TinyModels:
    versions = " ".join(version(package) for package in _MADE_WITH)
    source = _MAKING.read_bytes()
    return TinyModels(kept("tiny-models", _make, source, versions.encode()))


def _make(folder: Path) -> None:
    subprocess.run([sys.executable, str(_MAKING), str(folder)], check=True)
