"""The page at /ui, on which people make images: files that ask nothing of any other server."""

from pathlib import Path

from diffusion_serving.http.responses.replies import Reply

_HERE = Path(__file__).parent

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads its own two files, talks to its own server, and shows pictures it holds."""

FILES = {
    "/ui": ("index.html", "text/html; charset=utf-8"),
    "/ui/page.css": ("page.css", "text/css; charset=utf-8"),
    "/ui/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
"""Path → file and media type."""


def page_files() -> dict[str, Reply]:
    """What each path of the page answers."""
    headers = {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return {
        path: Reply(200, (_HERE / name).read_bytes(), media_type, headers)
        for path, (name, media_type) in FILES.items()
    }
