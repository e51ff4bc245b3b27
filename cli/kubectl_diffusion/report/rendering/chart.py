"""A chart of a report, and the colours of a request's parts."""

from dataclasses import dataclass

from kubectl_diffusion.charts.svg import Colour

PARTS: dict[str, tuple[str, Colour]] = {
    "queue": ("queue", "second"),
    "textEncoder": ("text encoder", "third"),
    "denoise": ("denoising", "first"),
    "vae": ("VAE", "fourth"),
    "encode": ("encoding", "fifth"),
    "other": ("the rest", "sixth"),
}


@dataclass(frozen=True)
class Chart:
    """A chart with its title and its note."""

    id: str
    title: str
    note: str
    svg: str
