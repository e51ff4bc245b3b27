"""The OpenAPI document, the same whichever framework carries the routes."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.http.replica import REPLICA_HEADER
from diffusion_serving.http.requests.openai import images_schema
from diffusion_serving.http.requests.predict_body import PredictResponse
from diffusion_serving.http.requests.schemas import request_schema
from diffusion_serving.http.requests.verify import VERIFIED_TYPES
from diffusion_serving.http.responses import openai_errors
from diffusion_serving.http.responses.event_stream import MEDIA_TYPE as EVENTS
from diffusion_serving.http.responses.image_encoding import MEDIA_TYPES
from diffusion_serving.http.responses.problems import (
    KINDS,
    MEDIA_TYPE,
    MODEL_NOT_FOUND,
    NOT_ACCEPTABLE,
    NOT_READY,
    UNAUTHORIZED,
    Kind,
    ProblemDocument,
)
from diffusion_serving.http.responses.rendering import BLOCKED_HEADER
from diffusion_serving.http.responses.replies import JSON
from diffusion_serving.http.responses.verification import Verification
from diffusion_serving.http.route_table import ROUTES, Endpoint
from diffusion_serving.observability.versions import versions

_GENERATING_STATUSES = frozenset({400, 406, 408, 413, 415, 422, 429, 500, 503, 504})

_BODY_STATUSES = frozenset({408, 413, 415, 422})

_HEADERS = {
    BLOCKED_HEADER: {
        "description": "The places of images that the safety checker blocked, which are blurred, "
        "counted from 0; left out where there are none.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {"description": "Milliseconds in each stage.", "schema": {"type": "string"}},
    REPLICA_HEADER: {
        "description": "The replica that responds: the name of its pod.",
        "schema": {"type": "string"},
    },
}


def describe(config: ServingConfig) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of a service with this configuration."""
    guarded = config.auth is not None
    paths: dict[str, Any] = {}
    for route in ROUTES:
        if (describe_operation := _OPERATIONS.get(route.endpoint)) is None:
            continue
        operation = describe_operation()
        if guarded and not route.is_open:
            _require_key(route.path, operation)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Diffusion service",
            "version": versions()["diffusion_serving"],
            "description": "Generates images from text. Errors are RFC 9457 problem documents, and "
            "OpenAI's own below /v1.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "PredictRequest": request_schema(config),
                "ImagesRequest": images_schema(config),
                "ImagesResponse": _IMAGES_RESPONSE,
                "Models": _MODELS,
                "About": _ABOUT,
                "OpenAIError": _OPENAI_ERROR,
                **_schemas(PredictResponse.model_json_schema(ref_template=_REF)),
                **_schemas(Verification.model_json_schema(ref_template=_REF)),
                **_schemas(ProblemDocument.model_json_schema(ref_template=_REF)),
            },
            **({"securitySchemes": {"key": _SCHEME}} if guarded else {}),
        },
    }


_REF = "#/components/schemas/{model}"

_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "One of the service's API keys.",
}

_IMAGES_RESPONSE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "created": {"type": "integer", "description": "Seconds of Unix time."},
        "background": {"const": "opaque"},
        "output_format": {"enum": list(MEDIA_TYPES)},
        "size": {"type": "string", "description": "Width and height, as in 512x512."},
        "blocked": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "description": "The places of images that the safety checker blocked: they are "
            "blurred. Left out where there are none.",
        },
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"b64_json": {"type": "string"}, "url": {"type": "string"}},
                "description": "One of the two, by `response_format`.",
            },
        },
    },
    "required": ["created", "data", "output_format", "size"],
}

_MODELS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "object": {"const": "list"},
        "data": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "object": {"const": "model"},
                    "created": {"type": "integer"},
                    "owned_by": {"type": "string"},
                },
                "required": ["id", "object", "created", "owned_by"],
            },
        },
    },
    "required": ["object", "data"],
}

_SECONDS = {"type": "number", "minimum": 0}
_BYTES = {"type": ["integer", "null"], "minimum": 0}
_IF_KNOWN = {"type": ["number", "null"], "minimum": 0}
_ABOUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "ready": {"type": "boolean"},
        "startup": {
            "type": ["object", "null"],
            "properties": dict.fromkeys(
                ("load_seconds", "warm_up_seconds", "timing_seconds"), _SECONDS
            ),
            "required": ["load_seconds", "warm_up_seconds", "timing_seconds"],
        },
        "bare_pipeline": {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "properties": {"images": {"type": "integer", "minimum": 1}, "seconds": _SECONDS},
                "required": ["images", "seconds"],
            },
        },
        "usage": {
            "type": "object",
            "properties": {
                "memory_peak_bytes": _BYTES,
                "device_memory_peak_bytes": _BYTES,
                "energy_joules": _IF_KNOWN,
                "device_busy_seconds": _IF_KNOWN,
            },
            "required": [
                "memory_peak_bytes",
                "device_memory_peak_bytes",
                "energy_joules",
                "device_busy_seconds",
            ],
        },
    },
    "required": ["ready", "startup", "bare_pipeline", "usage"],
}

_OPENAI_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string", "description": "The change to make."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field at fault."},
                "code": {"type": "string"},
                "error_id": {"type": "string", "description": "Finds the line in the log."},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}


def _schemas(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a model's schema and those that it refers to, by name."""
    return {**schema.pop("$defs", {}), schema["title"]: schema}


def _predict() -> dict[str, Any]:
    image = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": "predict",
        "summary": "Generates images from a prompt.",
        "description": "Responds with JSON, or with the bytes of a single image if the Accept "
        "header asks for `image/png`, `image/jpeg` or `image/webp`. With `text/event-stream` it "
        "sends an event `step` after each, then `images` with the JSON response or `problem` with "
        "the problem; a failure before the first step has its own status instead.",
        "requestBody": _body("PredictRequest"),
        "responses": {
            "200": {
                "description": "The images.",
                "headers": _HEADERS
                | {
                    "Diffusion-Seed": {
                        "description": "The seed, where the body is the bytes of an image.",
                        "schema": {"type": "string"},
                    },
                },
                "content": {
                    JSON: {"schema": _ref("PredictResponse")},
                    **dict.fromkeys(MEDIA_TYPES.values(), image),
                    EVENTS: {"schema": {"type": "string"}},
                },
            },
            **_problems(kind for kind in KINDS if _can_fail_generating(kind)),
        },
    }


def _generations() -> dict[str, Any]:
    kinds = [
        kind
        for kind in KINDS
        if kind is MODEL_NOT_FOUND or (_can_fail_generating(kind) and kind is not NOT_ACCEPTABLE)
    ]
    return {
        "operationId": "generateImages",
        "summary": "Generates images from a prompt, in the format of OpenAI's API.",
        "description": "OpenAI's clients work unchanged with this server's `/v1` as the base URL.",
        "requestBody": _body("ImagesRequest"),
        "responses": {
            "200": {
                "description": "The images.",
                "headers": _HEADERS
                | {
                    "Diffusion-Seed": {
                        "description": "The seed of the first image.",
                        "schema": {"type": "string"},
                    },
                },
                "content": {JSON: {"schema": _ref("ImagesResponse")}},
            },
            **_openai_problems(kinds),
        },
    }


def _models() -> dict[str, Any]:
    return {
        "operationId": "listModels",
        "summary": "Names that requests may give as the model: the service's own and its LoRAs.",
        "responses": {
            "200": {"description": "OK", "content": {JSON: {"schema": _ref("Models")}}},
        },
    }


def _verify() -> dict[str, Any]:
    picture = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": "verify",
        "summary": "Reads what a picture claims about its origin, and checks its signature.",
        "description": "Takes the bytes of a PNG, JPEG or WebP. Nothing is fetched from addresses "
        "in the picture, and nothing of it is kept.",
        "requestBody": {"required": True, "content": dict.fromkeys(VERIFIED_TYPES, picture)},
        "responses": {
            "200": {
                "description": "The claims.",
                "content": {JSON: {"schema": _ref("Verification")}},
            },
            **_problems(kind for kind in KINDS if kind.status in _BODY_STATUSES),
        },
    }


def _about() -> dict[str, Any]:
    operation = _get("about", "The model, versions, device, defaults and limits.")
    operation["description"] = (
        "`startup` has the seconds it took to load the model, to warm it up and to time it. "
        "`bare_pipeline` has the images and seconds of a call of the pipeline with nothing around "
        "it, for each batch size up to the cap; null where that would have taken too long. `usage` "
        "has the most memory that the server's processes held, and that on its devices, in bytes. "
        "A value that isn't known, or not yet, is null."
    )
    operation["responses"]["200"]["content"] = {JSON: {"schema": _ref("About")}}
    return operation


def _require_key(path: str, operation: dict[str, Any]) -> None:
    """Adds to an operation that it needs a key."""
    operation["security"] = [{"key": []}]
    if path.startswith(openai_errors.PREFIX):
        operation["responses"] |= _openai_problems([UNAUTHORIZED])
    else:
        operation["responses"] |= _problems([UNAUTHORIZED])


def _can_fail_generating(kind: Kind) -> bool:
    return kind.status in _GENERATING_STATUSES


def _body(name: str) -> dict[str, Any]:
    """Returns the body of a request for images, with one that a page can send as it is."""
    example = {"prompt": "a red circle on a blue background"}
    return {"required": True, "content": {JSON: {"schema": _ref(name), "example": example}}}


def _get(name: str, summary: str, *, media: str = JSON, unready: bool = False) -> dict[str, Any]:
    body = {"type": "string"} if media != JSON else {"type": "object"}
    responses = {"200": {"description": "OK", "content": {media: {"schema": body}}}}
    if unready:
        responses |= _problems([NOT_READY])
    return {"operationId": name, "summary": summary, "responses": responses}


def _openai_problems(kinds: Iterable[Kind]) -> dict[str, Any]:
    """Returns the responses of OpenAI's routes by status."""
    schema = {JSON: {"schema": _ref("OpenAIError")}}
    return _by_status(kinds, openai_errors.status_of, schema)


def _problems(kinds: Iterable[Kind]) -> dict[str, Any]:
    """Returns the responses of the other routes by status."""
    return _by_status(kinds, lambda kind: kind.status, {MEDIA_TYPE: {"schema": _ref("Problem")}})


def _by_status(
    kinds: Iterable[Kind], status_of: Callable[[Kind], int], content: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns responses by status, which several kinds may share."""
    texts: dict[str, str] = {}
    for kind in kinds:
        status = str(status_of(kind))
        texts[status] = f"{texts.get(status, '')} {_described(kind)}".strip()
    return {status: {"description": text, "content": content} for status, text in texts.items()}


def _described(kind: Kind) -> str:
    return f"{kind.title}. {kind.advice}"


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


_OPERATIONS: Mapping[Endpoint, Callable[[], dict[str, Any]]] = {
    Endpoint.PREDICT: _predict,
    Endpoint.OPENAI_IMAGES: _generations,
    Endpoint.OPENAI_MODELS: _models,
    Endpoint.VERIFY: _verify,
    Endpoint.HEALTHZ: partial(_get, "healthz", "Whether the process is alive.", unready=True),
    Endpoint.READYZ: partial(_get, "readyz", "Whether images are generated.", unready=True),
    Endpoint.METRICS: partial(_get, "metrics", "Prometheus metrics.", media="text/plain"),
    Endpoint.ABOUT: _about,
}
"""The description of each endpoint; pages have none, since programs don't call them."""
