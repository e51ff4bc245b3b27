"""What a route that makes images is asked for, whatever language its requests are in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from diffusion_serving.engine.generation import Generation
from diffusion_serving.http.responses.image_encoding import Format
from diffusion_serving.http.responses.replies import Reply


class Timings(BaseModel):
    """Milliseconds that the request spent in each stage."""

    model_config = ConfigDict(frozen=True)

    queue: float = Field(description="Waiting for the engine.")
    text_encoder: float = Field(description="Turning the prompts into embeddings.")
    denoise: float = Field(description="All steps of the U-Net.")
    vae: float = Field(description="Decoding latents to pixels.")
    encode: float = Field(description="Writing the image files.")

    def server_timing(self) -> str:
        """The value of a Server-Timing header."""
        return ", ".join(f"{name};dur={ms:.1f}" for name, ms in self.model_dump().items())


@dataclass(frozen=True, slots=True)
class Order:
    """One request, understood: what to make, how to encode it, and how to answer."""

    generation: Generation
    format: Format
    render: Callable[[Sequence[bytes], Timings], Reply]
    """Makes the answer of the image files. Takes milliseconds: not for an event loop."""
    quality: int | None = None
    """Of formats that lose some, 0 to 100; None is the usual one."""


Reader = Callable[[bytes, str | None, tuple[int, int]], Order]
"""Makes an order of a body, an Accept header and the model's own width and height.

Raises `Problem` for what can't be ordered.
"""
