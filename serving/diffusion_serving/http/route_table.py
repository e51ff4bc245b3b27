"""The routes of the HTTP surface, in one table.

The application, the check of API keys, refusals of unknown routes, the OpenAPI document and the
page at /docs all follow from it.
"""

import enum
from dataclasses import dataclass

from diffusion_serving.http.ui.docs_files import DOCS_FILES
from diffusion_serving.http.ui.files import FILES


class Endpoint(enum.Enum):
    """The endpoint that answers a route."""

    ROOT = enum.auto()
    PREDICT = enum.auto()
    OPENAI_IMAGES = enum.auto()
    OPENAI_MODELS = enum.auto()
    VERIFY = enum.auto()
    HEALTHZ = enum.auto()
    READYZ = enum.auto()
    METRICS = enum.auto()
    ABOUT = enum.auto()
    DOCS = enum.auto()
    UI = enum.auto()
    OPENAPI = enum.auto()


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path. `is_open`: no key is needed. `is_probe`: logged at DEBUG only."""

    method: str
    path: str
    endpoint: Endpoint
    is_open: bool = False
    is_probe: bool = False


# Open routes show no prompt and no image: a kubelet's probes and Prometheus's scrapes, which bring
# no key; the description, which explains the key; and the page, which asks its user for one.
ROUTES: tuple[Route, ...] = (
    Route("GET", "/", Endpoint.ROOT, is_open=True),
    Route("POST", "/predict", Endpoint.PREDICT),
    Route("POST", "/v1/images/generations", Endpoint.OPENAI_IMAGES),
    Route("GET", "/v1/models", Endpoint.OPENAI_MODELS),
    Route("POST", "/verify", Endpoint.VERIFY),
    Route("GET", "/healthz", Endpoint.HEALTHZ, is_open=True, is_probe=True),
    Route("GET", "/readyz", Endpoint.READYZ, is_open=True, is_probe=True),
    Route("GET", "/metrics", Endpoint.METRICS, is_open=True, is_probe=True),
    Route("GET", "/about", Endpoint.ABOUT),
    Route("GET", "/docs", Endpoint.DOCS, is_open=True),
    *(Route("GET", path, Endpoint.UI, is_open=True) for path in (*FILES, *DOCS_FILES)),
    Route("GET", "/openapi.json", Endpoint.OPENAPI, is_open=True),
)

FOLDERS = ("/ui/", "/docs/")
"""The pages' paths as people may write them, which lead to the pages, whose links are relative."""

OPEN_PATHS = frozenset(route.path for route in ROUTES if route.is_open) | {*FOLDERS}
"""Paths that need no key."""


def path_of(endpoint: Endpoint) -> str:
    """Returns the path of an endpoint that has one."""
    return next(route.path for route in ROUTES if route.endpoint is endpoint)
