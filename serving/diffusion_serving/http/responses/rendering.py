"""The rendering of a finished request: encoded image files and a reply."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from diffusion_serving.http.responses.image_encoding import Format
from diffusion_serving.http.responses.replies import Reply


class Timings(BaseModel):
    """Milliseconds that a request spent in each stage."""

    model_config = ConfigDict(frozen=True)

    queue: float = Field(description="Waiting for the engine.")
    text_encoder: float = Field(description="Turning the prompts into embeddings.")
    denoise: float = Field(description="All steps of the U-Net.")
    vae: float = Field(description="Decoding latents to pixels.")
    safety: float | None = Field(
        default=None,
        exclude_if=lambda ms: ms is None,
        description="From the last pixel to the safety checker's verdict; only where there is one.",
    )
    encode: float = Field(description="Writing the image files.")

    def server_timing(self) -> str:
        """Returns the value of a Server-Timing header."""
        return ", ".join(f"{name};dur={ms:.1f}" for name, ms in self.model_dump().items())


BLOCKED_HEADER = "Diffusion-Blocked"
"""The header with the places of blurred images in a response, counted from 0."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a finished request beside its images."""

    timings: Timings
    blocked: Sequence[int] = ()
    """The places of the images that the safety checker blocked, which are blurred."""

    def headers(self) -> Mapping[str, str]:
        """Returns the headers of the reply, the same on each route."""
        headers = {"Server-Timing": self.timings.server_timing(), "Cache-Control": "no-store"}
        if self.blocked:
            headers[BLOCKED_HEADER] = ", ".join(str(place) for place in self.blocked)
        return headers


@dataclass(frozen=True, slots=True)
class Rendering:
    """The file format of a request's images, and the reply that carries them."""

    format: Format
    reply: Callable[[Sequence[bytes], Facts], Reply]
    """Returns the reply with the image files. Takes milliseconds: not for an event loop."""
    quality: int | None = None
    """Quality of formats that lose some, 0 to 100; None is the usual one."""
