"""The files of the page at /ui, which load nothing from any other server."""

from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path

from diffusion_serving.http.responses.replies import Reply

HERE = Path(__file__).parent

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads its own two files, calls its own server, and shows pictures that it holds."""

FILES = {
    "/ui": (HERE / "index.html", "text/html; charset=utf-8"),
    "/ui/page.css": (HERE / "page.css", "text/css; charset=utf-8"),
    "/ui/page.js": (HERE / "page.js", "text/javascript; charset=utf-8"),
}
"""The file and media type of each path."""


def headers_with(policy: str) -> dict[str, str]:
    """Returns the headers of a page or of its files, with that Content-Security-Policy."""
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def replies_of(files: Mapping[str, tuple[Traversable, str]], policy: str) -> dict[str, Reply]:
    """Returns the reply of each path, from its file and media type, with the policy."""
    return {
        path: Reply(200, source.read_bytes(), media_type, headers_with(policy))
        for path, (source, media_type) in files.items()
    }


def page_files() -> dict[str, Reply]:
    """Returns the reply of each of the page's paths."""
    return replies_of(FILES, _POLICY)
