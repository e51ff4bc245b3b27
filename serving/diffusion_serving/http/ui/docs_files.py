"""The files of the page at /docs: Swagger UI, from its package, and what starts it."""

from importlib.resources import files

from diffusion_serving.http.responses.replies import Reply
from diffusion_serving.http.ui.files import HERE, replies_of

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page runs its own files, calls its own server, and shows the pictures of its responses."""

_SWAGGER = files("fastapi_swagger.resources")
DOCS_FILES = {
    "/docs/page.css": (HERE / "docs.css", "text/css; charset=utf-8"),
    "/docs/page.js": (HERE / "docs.js", "text/javascript; charset=utf-8"),
    "/docs/swagger-ui.css": (_SWAGGER / "swagger-ui.css", "text/css; charset=utf-8"),
    "/docs/swagger-ui.js": (
        _SWAGGER / "swagger-ui-bundle.js",
        "text/javascript; charset=utf-8",
    ),
}
"""The file and media type of each path."""


def docs_files() -> dict[str, Reply]:
    """Returns the reply of each of the files' paths."""
    return replies_of(DOCS_FILES, POLICY)
