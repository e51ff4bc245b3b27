"""The page at /docs: the OpenAPI document as plain HTML, and Swagger UI to send requests.

The page needs nothing from another host, so it works in a cluster that has no internet, and can be
read without a script.
"""

from collections.abc import Iterator
from html import escape
from typing import Any

from diffusion_serving.http.responses.problems import KINDS
from diffusion_serving.http.route_table import OPEN_PATHS, Endpoint, path_of

_EXAMPLE = """curl -H 'Content-Type: application/json' -H 'Accept: image/png' -o circle.png \\
  -d '{"prompt": "a red circle on a blue background", "seed": 7}' http://HOST:PORT/predict"""


def render(document: dict[str, Any]) -> str:
    """Renders an OpenAPI document as a page."""
    info = document["info"]
    schemas = document["components"]["schemas"]
    predict, generations = path_of(Endpoint.PREDICT), path_of(Endpoint.OPENAI_IMAGES)
    return "".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(info['title'])}</title>",
            '<link rel="icon" href="data:,">',
            '<link rel="stylesheet" href="docs/swagger-ui.css">',
            '<link rel="stylesheet" href="docs/page.css">',
            '<script src="docs/swagger-ui.js" defer></script>',
            '<script src="docs/page.js" type="module"></script>',
            f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])} ",
            'For programs: <a href="/openapi.json">/openapi.json</a>.</p>',
            f"<h2>Try it</h2><pre>{escape(_EXAMPLE)}</pre>",
            '<div id="swagger"><noscript>A script shows forms here.</noscript></div>',
            "<h2>Routes</h2>",
            *_routes(document["paths"]),
            *_key(document["components"].get("securitySchemes")),
            f"<h2>POST {predict}: request</h2>",
            *_fields(schemas["PredictRequest"]),
            f"<h2>POST {predict}: response</h2>",
            *_fields(schemas["PredictResponse"]),
            f"<h2>POST {generations}: request</h2>",
            *_fields(schemas["ImagesRequest"]),
            "<h2>Problems</h2>",
            *_problems(),
            "</html>",
        ]
    )


def _key(schemes: dict[str, Any] | None) -> Iterator[str]:
    if schemes:
        yield "<h2>Key</h2><p>Send one of the service's keys in the header "
        yield "<code>Authorization: Bearer KEY</code>. None is needed for "
        yield ", ".join(f"<code>{path}</code>" for path in sorted(OPEN_PATHS))
        yield ".</p>"


def _routes(paths: dict[str, Any]) -> Iterator[str]:
    yield "<table><tr><th>Route<th>What it does</tr>"
    for path, operations in paths.items():
        for method, operation in operations.items():
            text = f"{operation['summary']} {operation.get('description', '')}"
            yield f"<tr><td><code>{method.upper()} {escape(path)}</code><td>{escape(text)}</tr>"
    yield "</table>"


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    yield f"<p>{escape(schema.get('description', ''))}</p>"
    yield "<table><tr><th>Field<th>Type<th>Meaning</tr>"
    for name, spec in schema["properties"].items():
        yield f"<tr><td><code>{escape(name)}</code><td>{escape(_type(spec))}<td>"
        yield f"{escape(spec.get('description', ''))} {escape(_bounds(spec))}"
        yield "<strong>Required.</strong></tr>" if name in schema.get("required", ()) else "</tr>"
    yield "</table>"


def _type(spec: dict[str, Any]) -> str:
    if "enum" in spec:
        return " | ".join(str(value) for value in spec["enum"] if value is not None)
    kind = spec.get("type", "object")
    return " | ".join(one for one in kind if one != "null") if isinstance(kind, list) else str(kind)


_BOUNDS = {
    "minimum": "from {}",
    "maximum": "up to {}",
    "multipleOf": "a multiple of {}",
    "maxLength": "at most {} characters",
    "default": "default {!r}",
}


def _bounds(spec: dict[str, Any]) -> str:
    parts = [text.format(spec[key]) for key, text in _BOUNDS.items() if key in spec]
    return f"({', '.join(parts)}) " if parts else ""


def _problems() -> Iterator[str]:
    yield "<table><tr><th>Status<th>Problem<th>What to do</tr>"
    for kind in KINDS:
        yield f'<tr id="{kind.slug}"><td>{kind.status}<td>{escape(kind.title)}'
        yield f"<td>{escape(kind.advice)}</tr>"
    yield "</table>"
