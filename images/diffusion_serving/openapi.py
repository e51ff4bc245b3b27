"""The OpenAPI description: one document, whichever framework carries the routes."""

from typing import Any

from diffusion_serving.api import JSON, PredictResponse, request_schema
from diffusion_serving.config import ServingConfig
from diffusion_serving.images import MEDIA_TYPES
from diffusion_serving.problems import KINDS, MEDIA_TYPE, Kind, ProblemDocument
from diffusion_serving.versions import versions

ROUTES: tuple[tuple[str, str], ...] = (
    ("GET", "/"),
    ("POST", "/predict"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/about"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
)

_PREDICT_STATUSES = frozenset({400, 406, 408, 413, 415, 422, 429, 500, 503, 504})


def describe(config: ServingConfig) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a service with this configuration."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Diffusion service",
            "version": versions()["diffusion_serving"],
            "description": "Makes images from text. Errors are RFC 9457 problem documents.",
        },
        "paths": {
            "/predict": {"post": _predict()},
            "/healthz": {"get": _get("healthz", "Whether the process is alive.", unready=True)},
            "/readyz": {"get": _get("readyz", "Whether images are made.", unready=True)},
            "/metrics": {"get": _get("metrics", "Prometheus metrics.", media="text/plain")},
            "/about": {"get": _get("about", "The model, versions, device, defaults and limits.")},
        },
        "components": {
            "schemas": {
                "PredictRequest": request_schema(config.limits, config.generation),
                **_schemas(PredictResponse.model_json_schema(ref_template=_REF)),
                **_schemas(ProblemDocument.model_json_schema(ref_template=_REF)),
            }
        },
    }


_REF = "#/components/schemas/{model}"


def _schemas(schema: dict[str, Any]) -> dict[str, Any]:
    """A model's schema and those that it refers to, by name."""
    return {**schema.pop("$defs", {}), schema["title"]: schema}


def _predict() -> dict[str, Any]:
    image = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": "predict",
        "summary": "Makes images from a prompt.",
        "description": "Answers JSON, or the bytes of a single image if the Accept header asks "
        "for `image/png`, `image/jpeg` or `image/webp`.",
        "requestBody": {"required": True, "content": {JSON: {"schema": _ref("PredictRequest")}}},
        "responses": {
            "200": {
                "description": "The images.",
                "headers": {
                    "Server-Timing": {
                        "description": "Milliseconds in each stage.",
                        "schema": {"type": "string"},
                    },
                    "Diffusion-Seed": {
                        "description": "The seed, where the body is the bytes of an image.",
                        "schema": {"type": "string"},
                    },
                },
                "content": {
                    JSON: {"schema": _ref("PredictResponse")},
                    **dict.fromkeys(MEDIA_TYPES.values(), image),
                },
            },
            **{str(kind.status): _problem(kind) for kind in KINDS if _can_fail_predict(kind)},
        },
    }


def _can_fail_predict(kind: Kind) -> bool:
    return kind.status in _PREDICT_STATUSES


def _get(name: str, summary: str, *, media: str = JSON, unready: bool = False) -> dict[str, Any]:
    body = {"type": "string"} if media != JSON else {"type": "object"}
    responses = {"200": {"description": "OK", "content": {media: {"schema": body}}}}
    if unready:
        responses["503"] = _problem(next(kind for kind in KINDS if kind.slug == "not-ready"))
    return {"operationId": name, "summary": summary, "responses": responses}


def _problem(kind: Kind) -> dict[str, Any]:
    return {
        "description": f"{kind.title}. {kind.advice}",
        "content": {MEDIA_TYPE: {"schema": _ref("Problem")}},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}
