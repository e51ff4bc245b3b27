"""The reader of a route's requests, whichever API their bodies are of."""

from collections.abc import Callable

from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.http.responses.rendering import Rendering

Reader = Callable[[bytes, str | None, tuple[int, int]], tuple[ImageRequest, Rendering]]
"""Reads a body, an Accept header and the model's own width and height.

Returns the image request and its rendering. Raises `Problem` for a request that cannot be served.
"""
